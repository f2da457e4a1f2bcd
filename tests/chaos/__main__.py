"""`make chaos`: a run as large as asked for, and its table."""

import argparse
import asyncio
import random
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.chaos.crew import ROOT
from tests.chaos.driver import Settings, run
from tests.chaos.faults import KINDS

SHOWN = 20


def main() -> None:
    """Have a run, print its table, and fail if a claim does not hold."""
    parser = argparse.ArgumentParser(prog="make chaos ARGS=", description="Kill, freeze and cut off, and count.")
    parser.add_argument("--broker", choices=list(KINDS), default="redis")
    parser.add_argument("--tasks", type=int, default=20_000)
    parser.add_argument("--faults", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=240, help="over which calls and faults are spread")
    parser.add_argument("--processes", type=int, default=1, help="of each of the three workers")
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    parser.add_argument("--keep", type=Path, help="a folder for the journals and logs, made if it is not there")
    arguments = vars(parser.parse_args())
    keep: Path | None = arguments.pop("keep")
    settings = Settings(**arguments)
    print(f"`make chaos ARGS='{settings}'` at commit {commit()}\n", flush=True)
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        report = asyncio.run(run(settings, keep or Path(folder)))
    print(report.table)
    for wrong in report.wrong[:SHOWN]:
        print(f"\n{wrong}")
    sys.exit(1 if report.wrong else 0)


def commit() -> str:
    """Return what is checked out, so that a table says what it is of."""
    command = ["git", "describe", "--always", "--dirty"]
    described = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return described.stdout.strip() or "unknown"


if __name__ == "__main__":
    main()
