"""What a type checker says of programs that use asyncq: right ones pass, and each mistake is found where it is made."""

import subprocess
import sys
from pathlib import Path

CASES = Path(__file__).parent / "cases.py"


def test_the_type_checker_agrees() -> None:
    """Pyright in strict mode accepts the right uses, and finds every line that is marked as wrong."""
    command = [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, CASES]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
