"""Install pip into the virtual environment whose Python runs this, wherever pip can be had.

Debian keeps ensurepip in a package of its own (python3-venv), which only root can install.
"""

import hashlib
import subprocess
import sys
import tempfile
import urllib.request
from importlib.util import find_spec
from pathlib import Path

WHEEL_URL = (
    "https://files.pythonhosted.org/packages/07/25/"
    "ee8c38ae72d66b844ce8eb9711ba905dba21ca1a8a0c960057c41cd23337/pip-26.3-py3-none-any.whl"
)
WHEEL_SHA256 = "f3b60b20ffaadd4415ed7957212a38ac63fa4c5fa375bd0f4a797777940fad13"


def main() -> None:
    """Try what is nearest first."""
    for install in (from_ensurepip, from_the_system, from_the_index):
        try:
            install()
        except (OSError, subprocess.CalledProcessError) as error:
            print(f"{install.__name__}: {error}")
        else:
            return
    sys.exit("There is no pip to be had. On Debian: apt install python3-venv")


def from_ensurepip() -> None:
    """Unpack the copy that most Pythons bring along."""
    if find_spec("ensurepip") is None:
        raise FileNotFoundError("this Python has no ensurepip")
    run(sys.executable, "-m", "ensurepip")


def from_the_system() -> None:
    """Have the pip of the Python below this environment install another one here."""
    run(f"{sys.base_prefix}/bin/python3", "-m", "pip", "--python", sys.executable, "install", "pip")


def from_the_index() -> None:
    """Download pip's wheel and let it install itself: a wheel is a zip file, and Python runs what lies in one."""
    with urllib.request.urlopen(WHEEL_URL, timeout=60) as response:
        content = response.read()
    if hashlib.sha256(content).hexdigest() != WHEEL_SHA256:
        raise OSError(f"{WHEEL_URL} has another SHA-256 than it should have")
    with tempfile.TemporaryDirectory() as folder:
        wheel = Path(folder, WHEEL_URL.rpartition("/")[2])
        wheel.write_bytes(content)
        run(sys.executable, f"{wheel}/pip", "install", "--no-index", str(wheel))


def run(*command: str) -> None:
    """Run a command; CalledProcessError if it fails."""
    subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
