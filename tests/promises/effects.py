"""An application whose tasks write down each time they run, and what was written."""

from collections import defaultdict
from pathlib import Path

from tests.waiting import wait_until

APP = """
import asyncio, ctypes, os, time
from pathlib import Path
from asyncq import FailedCall, RetryPolicy, broker_from_url

broker = broker_from_url({url!r}, namespace={namespace!r}, command_timeout=2, **{options!r})
lines = os.open("effects", os.O_CREAT | os.O_APPEND | os.O_WRONLY)


def note(name):
    os.write(lines, f"{name} {os.getpid()}\\n".encode())  # one write: whole, whoever else writes
    return os.getpid()


@broker.task
async def work(number: int) -> int:
    await asyncio.sleep(0.01)  # work takes time, in which it may be killed
    note(number)
    await asyncio.sleep(0.01)  # work takes time, in which it may be killed
    return 2 * number


@broker.task
async def wait(name: str, seconds: float) -> int:
    note(name)
    await asyncio.sleep(seconds)  # work takes time, in which it may be killed
    return os.getpid()


@broker.task
async def hold(name: str) -> int:
    note(name)
    while not Path(f"{name}.goes-on").exists():
        await asyncio.sleep(0.005)  # between two looks: only files tell other processes
    return os.getpid()


@broker.task
async def finish(name: str) -> int:
    await hold(name)
    note(f"{name}-ended")
    return os.getpid()


@broker.task
async def report(call: FailedCall) -> None:
    note(f"{call.args[0]}-reported")


@broker.task(on_failure=report)
async def fail(name: str) -> None:
    await finish(name)
    raise ValueError(name)


@broker.task
async def poison(name: str) -> None:
    note(name)
    os._exit(9)


@broker.task
async def cleaning(name: str) -> None:
    note(name)
    try:
        await asyncio.sleep(600)  # until it is cancelled
    finally:
        note(f"{name}-cleaned")


@broker.task
async def block(name: str, how: str, seconds: float) -> int:
    note(name)
    end = time.monotonic() + seconds
    while how == "python" and time.monotonic() < end:
        pass
    if how == "sleep":
        time.sleep(seconds)  # the fault that is tested: the loop is blocked
    if how == "lock" and not Path(f"{name}.goes-on").exists():
        ctypes.PyDLL(None).usleep(round(seconds * 1e6))  # a call into C that keeps the interpreter's lock
    return os.getpid()


@broker.task(max_crashes=1)
async def stick(name: str) -> None:
    note(name)
    time.sleep(600)  # until its process ends


@broker.task(runs_in="process")
def compute(name: str, how: str = "") -> int:
    note(name)
    while how == "hold" and not Path(f"{name}.goes-on").exists():
        pass
    if how == "exit":
        os._exit(1)
    return os.getpid()


@broker.task(runs_in="process", retry=None)
def call(name: str, how: str) -> int:
    # publishes from its process, and may wait there, which is refused
    handle = wait.kiq_sync(name, 0)
    return handle.result_sync() if how == "wait" else 0
"""


class Effects:
    """What the tasks of an application in a folder have written, each run once."""

    def __init__(self, folder: Path, url: str, namespace: str, **options: object) -> None:
        self._folder = folder
        self._path = folder / "effects"
        self._path.touch()
        self._url = url
        self._options = options
        self._source = APP.replace("{namespace!r}", repr(namespace))
        (folder / "app.py").write_text(self._source_at(url, options))

    def variant(
        self, name: str, *, url: str = "", before: str = "", after: str = "", **options: object
    ) -> tuple[str, str]:
        """Write the application out once more; return the options of a worker that is to run that one.

        Args:
            name: of a folder for it.
            url: where this one finds the broker, if it is elsewhere.
            before: what comes first in its module.
            after: what comes last.
            options: what its broker is told otherwise.
        """
        source = self._source_at(url or self._url, self._options | options)
        (self._folder / name).mkdir()
        (self._folder / name / "app.py").write_text(before + source + after)
        return "--app-dir", name

    def _source_at(self, url: str, options: dict[str, object]) -> str:
        return self._source.replace("{url!r}", repr(url)).replace("{options!r}", repr(options))

    def count(self) -> int:
        """Return how many runs there were."""
        return self._path.read_bytes().count(b"\n")

    def names(self) -> list[str]:
        """Return the name or number of each run's task, in order."""
        return [line.split()[0] for line in self._path.read_text().splitlines()]

    def runs(self) -> dict[str, list[int]]:
        """Return the processes in which each task ran, in order, by its name or number."""
        runs: dict[str, list[int]] = defaultdict(list)
        for line in self._path.read_text().splitlines():
            name, pid = line.split()
            runs[name].append(int(pid))
        return runs

    def runs_of(self, name: str) -> list[int]:
        """Return the processes in which a task ran, in order."""
        return self.runs()[name]

    def count_of(self, *names: str) -> list[int]:
        """Return how many runs each of these tasks had."""
        runs = self.runs()
        return [len(runs[name]) for name in names]

    async def wait_for(self, *names: str, timeout: float = 20) -> None:
        """Return when each of these was written down."""
        await wait_until(lambda: {*names} <= {*self.names()}, f"{', '.join(names)} written down", timeout=timeout)

    async def wait_for_more(self, what: str) -> None:
        """Return when there has been another run."""
        count = self.count()
        await wait_until(lambda: self.count() > count, what, timeout=20)

    async def midway(self, count: int, total: int) -> None:
        """Return when at least so many of all tasks have run, and not all of them."""
        await wait_until(lambda: self.count() >= count, "a part has run")
        assert self.count() < total

    def let_go_on(self, *names: str) -> None:
        """Let tasks that hold go on."""
        for name in names:
            (self._folder / f"{name}.goes-on").touch()
