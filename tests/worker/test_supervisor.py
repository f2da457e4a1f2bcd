"""The supervisor, with children that are a few lines of Python and do as the test says."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from asyncq.worker.child import Charge
from asyncq.worker.supervisor import Supervisor, cause_of_death
from tests.waiting import wait_until

CHILD = """
import os, signal, socket, sys
fd, name, *rest = sys.argv[1].split(":")
line = socket.socket(fileno=int(fd))
diary = os.open(sys.argv[2], os.O_WRONLY | os.O_APPEND)

def note(*words):
    os.write(diary, (" ".join([name.rpartition("-")[2], *words]) + "\\n").encode())

def tell(word):
    line.sendall(word.encode() + b"\\n")

note("pid", str(os.getpid()), *rest)
{start}
for order in line.makefile():
    note(*order.split())
    {obey}
"""

WORKS = "tell('loaded'); note('starts'); tell('started'); note('started')"
STOPS = "if order == 'stop\\n': sys.exit(0)"


class Crew:
    """A supervisor at work, and the diary of its children."""

    def __init__(self, supervisor: Supervisor, diary: Path) -> None:
        self.supervisor = supervisor
        self._diary = diary

    @property
    def entries(self) -> list[str]:
        return self._diary.read_text().splitlines()

    def pid(self, number: int) -> int:
        """Return the process of the child that was spawned as the `number`th."""
        return next(int(entry.split()[2]) for entry in self.entries if entry.startswith(f"{number} pid"))

    async def has(self, *entries: str) -> None:
        """Wait for these entries."""
        await wait_until(lambda: set(entries) <= set(self.entries), f"{entries} among {self.entries}")


class RunCrew:
    """Start supervisors of such children."""

    def __init__(self, folder: Path) -> None:
        self._diary = folder / "diary"
        self._diary.touch()

    @asynccontextmanager
    async def __call__(
        self, *, start: str = WORKS, obey: str = STOPS, processes: int = 2, is_burst: bool = False, timeout: float = 30
    ) -> AsyncIterator[tuple[Crew, asyncio.Task[int]]]:
        """Run a supervisor; stop it, if that has not happened, at the end."""
        script = CHILD.format(start=start, obey=obey)

        def command(charge: Charge) -> Sequence[str]:
            return [sys.executable, "-S", "-c", script, str(charge), str(self._diary)]

        supervisor = Supervisor(command, processes=processes, shutdown_timeout=timeout, is_burst=is_burst)
        async with asyncio.TaskGroup() as group:
            running = group.create_task(supervisor.run())
            try:
                yield Crew(supervisor, self._diary), running
            finally:
                if not running.done():
                    supervisor.stop()


@pytest.fixture
def run_crew(tmp_path: Path) -> RunCrew:
    return RunCrew(tmp_path)


async def test_starts_all_and_stops_all(run_crew: RunCrew) -> None:
    """An order to stop reaches every child, and the supervisor ends with 0 once they have."""
    async with run_crew(processes=3) as (crew, running):
        await crew.has("1 started", "2 started", "3 started")

        crew.supervisor.stop()

        assert await running == 0
        assert {"1 stop", "2 stop", "3 stop"} <= set(crew.entries)


async def test_one_child_speaks_for_all(run_crew: RunCrew) -> None:
    """Only the first child is told that it is the first."""
    async with run_crew(processes=3) as (crew, _):
        await crew.has("1 started", "2 started", "3 started")

    assert [entry.split()[0] for entry in crew.entries if entry.endswith("first")] == ["1"]


async def test_second_stop_is_at_once(run_crew: RunCrew) -> None:
    """A second order to stop tells the children to abort."""
    async with run_crew(obey="if order == 'abort\\n': sys.exit(0)") as (crew, running):
        await crew.has("1 started", "2 started")

        crew.supervisor.stop()
        await crew.has("1 stop", "2 stop")
        crew.supervisor.stop()

        assert await running == 0


async def test_kills_who_will_not_stop(run_crew: RunCrew, monkeypatch: pytest.MonkeyPatch) -> None:
    """A child that is deaf to its orders is killed when its time is over."""
    monkeypatch.setattr("asyncq.worker.supervisor.KILL_AFTER", 0.1)
    async with run_crew(obey="pass", timeout=0.1) as (crew, running):
        await crew.has("1 started", "2 started")

        crew.supervisor.stop()

        assert await running == 0


async def test_replaces_the_dead_and_tells_a_sibling(run_crew: RunCrew) -> None:
    """When a child is killed, another takes its place at once, and its sibling is told to release what it held."""
    async with run_crew() as (crew, _):
        await crew.has("1 started", "2 started")

        os.kill(crew.pid(1), signal.SIGKILL)

        await crew.has("3 started")
        assert [entry.rpartition("-")[2] for entry in crew.entries if entry.startswith("2 release")] == ["1"]


async def test_the_replacement_releases_when_nobody_else_can(run_crew: RunCrew) -> None:
    """An only child's replacement is told to release what the dead one held, once it has started."""
    async with run_crew(processes=1) as (crew, _):
        await crew.has("1 started")

        os.kill(crew.pid(1), signal.SIGKILL)

        await crew.has("2 started")
        await wait_until(lambda: any(entry.startswith("2 release") for entry in crew.entries), "the order to release")


async def test_the_released_are_not_forgotten(run_crew: RunCrew) -> None:
    """When a child dies right after it was told to release what another held, the next is told to release both."""
    async with run_crew() as (crew, _):
        await crew.has("1 started", "2 started")

        for number in (1, 2):
            os.kill(crew.pid(number), signal.SIGKILL)

        def released() -> set[str]:
            orders = [entry.split() for entry in crew.entries if entry[0] > "2" and " release " in entry]
            return {name.rpartition("-")[2] for order in orders for name in order[2:]}

        await wait_until(lambda: released() == {"1", "2"}, "both are released")


async def test_nothing_to_release_after_a_clean_end(run_crew: RunCrew) -> None:
    """A child that ends by itself with exit code 0 is replaced, and nobody is told to release anything."""
    async with run_crew(start=f"signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\n{WORKS}") as (crew, _):
        await crew.has("1 started", "2 started")

        os.kill(crew.pid(1), signal.SIGTERM)

        await crew.has("3 started")
    assert not any("release" in entry for entry in crew.entries)


async def test_gives_up_when_the_first_cannot_start(run_crew: RunCrew) -> None:
    """A child that fails before it has loaded ends everything with its exit code; its siblings are not even started."""
    async with run_crew(start="sys.exit(3)") as (crew, running):
        assert await running == 3

    assert len(crew.entries) == 1


async def test_gives_up_when_no_one_can_start(run_crew: RunCrew) -> None:
    """Children that load and fail before they have started end everything with their exit code."""
    async with run_crew(start="tell('loaded'); sys.exit(4)") as (_, running):
        assert await running == 4


async def test_goes_on_when_only_a_replacement_cannot_start(run_crew: RunCrew, tmp_path: Path) -> None:
    """While a sibling works, a replacement that fails to start is tried again, more and more slowly."""
    start = f"""
if os.path.exists({str(tmp_path / "broken")!r}):
    sys.exit(1)
{WORKS}
"""
    async with run_crew(start=start) as (crew, running):
        await crew.has("1 started", "2 started")
        (tmp_path / "broken").touch()

        os.kill(crew.pid(1), signal.SIGKILL)
        await wait_until(lambda: any(entry.startswith("3 pid") for entry in crew.entries), "a first try")
        (tmp_path / "broken").unlink()

        await wait_until(lambda: any(entry.endswith(" started") and entry[0] > "3" for entry in crew.entries), "a next")
        assert not running.done()


async def test_dies_again_and_again(run_crew: RunCrew, caplog: pytest.LogCaptureFixture) -> None:
    """A child that dies right after each start is started at once the first time, then later and later."""
    async with run_crew(processes=1, start=f"{WORKS}\nos.kill(os.getpid(), signal.SIGSEGV)") as (crew, _):
        await crew.has("3 started")

    assert "was killed by SIGSEGV" in caplog.text
    assert "Starting another worker process in" in caplog.text


async def test_burst_ends_with_the_children(run_crew: RunCrew) -> None:
    """In burst, children that end with 0 are not replaced, and the supervisor ends when all have."""
    async with run_crew(start=f"{WORKS}; sys.exit(0)", is_burst=True) as (crew, running):
        assert await running == 0

    assert sum(entry.endswith("started") for entry in crew.entries) == 2


async def test_burst_replaces_who_crashes(run_crew: RunCrew, tmp_path: Path) -> None:
    """In burst, a child that crashes is replaced: its work is not done."""
    crash = tmp_path / "crash"
    crash.touch()
    start = f"""
{WORKS}
if os.path.exists({str(crash)!r}):
    os.unlink({str(crash)!r})
    os.kill(os.getpid(), signal.SIGKILL)
sys.exit(0)
"""
    async with run_crew(start=start, processes=1, is_burst=True) as (crew, running):
        assert await running == 0

    assert "2 started" in crew.entries


async def test_burst_is_over_when_somebody_has_looked_last(run_crew: RunCrew) -> None:
    """What a replaced child leaves behind at its end, in burst, has somebody who looks after it."""
    start = f"""
{WORKS}
if name.endswith("-1"):
    tell("spent")
else:
    sys.exit(0)
"""
    obey = "if order == 'retire\\n': note('publishes'); sys.exit(0)"
    async with run_crew(start=start, obey=obey, processes=1, is_burst=True) as (crew, running):
        assert await running == 0

    entries = crew.entries
    assert entries.index("1 publishes") < entries.index("3 started")
    assert not any(entry.startswith("4") for entry in entries)


async def test_rolling_restart(run_crew: RunCrew) -> None:
    """A restart replaces all children, and each is told to stop only when its successor has started."""
    async with run_crew() as (crew, running):
        await crew.has("1 started", "2 started")

        crew.supervisor.restart()
        crew.supervisor.restart()  # a second one while it goes on changes nothing
        await crew.has("1 stop", "2 stop", "3 started", "4 started")

        entries = crew.entries
        stops = [index for index, entry in enumerate(entries) if entry in ("1 stop", "2 stop")]
        assert entries.index("3 starts") < stops[0] < entries.index("4 starts") < stops[1]
        assert not running.done()
    assert not any(entry.startswith("5") for entry in crew.entries)


async def test_rolling_restart_with_a_fault(
    run_crew: RunCrew, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """When the new code cannot start, a restart leaves the old children at work and says so."""
    start = f"os.path.exists({str(tmp_path / 'broken')!r}) and sys.exit(1)\n{WORKS}"
    async with run_crew(start=start) as (crew, running):
        await crew.has("1 started", "2 started")
        (tmp_path / "broken").touch()

        crew.supervisor.restart()

        await wait_until(lambda: "the old ones go on" in caplog.text, "the message")
        assert not running.done()
        assert not any(entry.endswith("stop") for entry in crew.entries)


async def test_stop_while_children_start(run_crew: RunCrew) -> None:
    """An order to stop that comes before a child has loaded reaches it, and no other is started."""
    async with run_crew(start="") as (crew, running):
        await wait_until(lambda: bool(crew.entries), "the first child")

        crew.supervisor.stop()

        assert await running == 0
        assert len([entry for entry in crew.entries if "pid" in entry]) == 1


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (-signal.SIGKILL, "was killed by SIGKILL"),
        (-62, "was killed by signal 62"),
        (3, "ended with exit code 3"),
    ],
)
def test_cause_of_death(code: int, words: str) -> None:
    """The end of a process is told in words."""
    assert cause_of_death(code) == words
