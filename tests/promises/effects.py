"""An application whose tasks write down each time they run, and what was written."""

from collections import Counter
from pathlib import Path

APP = """
import asyncio, os, time
from asyncq import broker_from_url

broker = broker_from_url({url!r}, namespace={namespace!r}, command_timeout=2)
lines = os.open("effects", os.O_CREAT | os.O_APPEND | os.O_WRONLY)


def note(*words):
    os.write(lines, (" ".join(map(str, words)) + "\\n").encode())  # one write: whole, whoever else writes


@broker.task
async def work(number: int) -> int:
    await asyncio.sleep(0.02)
    note(number, os.getpid())
    return 2 * number


@broker.task
async def wait(name: str, seconds: float) -> int:
    note(name, "begins", os.getpid())
    await asyncio.sleep(seconds)
    note(name, os.getpid())
    return os.getpid()


@broker.task
async def block(name: str, how: str, seconds: float) -> int:
    note(name, "begins", os.getpid())
    end = time.monotonic() + seconds
    while how == "python" and time.monotonic() < end:
        pass
    if how == "sleep":
        time.sleep(seconds)
    note(name, os.getpid())
    return os.getpid()
"""


class Effects:
    """What the tasks of an application in a folder have written."""

    def __init__(self, folder: Path, url: str, namespace: str) -> None:
        self._path = folder / "effects"
        self._path.touch()
        (folder / "app.py").write_text(APP.format(url=url, namespace=namespace))

    def lines(self) -> list[list[str]]:
        """Return the words of each line."""
        return [line.split() for line in self._path.read_text().splitlines()]

    def runs(self) -> Counter[str]:
        """Return how often each task ran to its end, by its name or number."""
        return Counter(line[0] for line in self.lines() if "begins" not in line)

    def begun(self, name: str) -> list[int]:
        """Return the processes in which a task has begun, in order."""
        return [int(line[2]) for line in self.lines() if line[:2] == [name, "begins"]]

    def count(self) -> int:
        """Return how many runs have come to their end."""
        return sum(self.runs().values())
