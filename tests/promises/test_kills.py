"""Nothing is lost when processes or servers are killed in the middle of 5,000 tasks."""

import asyncio
import os
from pathlib import Path
from signal import SIGKILL

import pytest

from tests.cli.programs import StartProgram
from tests.promises.conftest import Publisher, started
from tests.promises.effects import Effects
from tests.redis_keys import assert_no_keys_left
from tests.servers import RedisServer
from tests.waiting import wait_until

TASKS = 5_000
SLOTS = 50
UNSETTLED = 500
"""Tasks that may have run to their end and not be settled yet: one batch."""

OPTIONS = ("--lease", "1", "--concurrency", str(SLOTS))


async def check(publisher: Publisher, effects: Effects, waiting: "asyncio.Future[list[int]]", killed: int = 1) -> None:
    """Check that everything ran, that nothing ran again but what was in flight, and that every waiter was told."""
    async with asyncio.timeout(40):
        assert await waiting == [2 * number for number in range(TASKS)]
    runs = effects.runs()
    assert sorted(runs, key=int) == [str(number) for number in range(TASKS)]
    assert sum(runs.values()) - TASKS <= killed * (SLOTS + UNSETTLED)
    [counts] = await (await publisher.broker.open()).transport.counts(["default"])
    assert tuple(counts) == (0, 0, 0, 0)


async def all_of(publisher: Publisher) -> "asyncio.Future[list[int]]":
    """Publish the tasks, and wait for all of their results in the background."""
    return asyncio.gather(*await publisher.publish(TASKS))


async def test_the_only_worker(publisher: Publisher, effects: Effects, asyncq: StartProgram) -> None:
    """The only worker is killed; one that is started later runs the rest, and every waiter gets its result."""
    waiting = await all_of(publisher)
    worker = await started(asyncq, *OPTIONS)
    await wait_until(lambda: effects.count() > 1_000, "a part has run")
    worker.signal(SIGKILL)
    await started(asyncq, *OPTIONS)
    await check(publisher, effects, waiting)


async def test_one_of_two_workers(publisher: Publisher, effects: Effects, asyncq: StartProgram) -> None:
    """One of two workers is killed; the other runs what it held."""
    waiting = await all_of(publisher)
    worker = await started(asyncq, *OPTIONS)
    await started(asyncq, *OPTIONS)
    await wait_until(lambda: effects.count() > 1_000, "a part has run")
    worker.signal(SIGKILL)
    await check(publisher, effects, waiting)


async def test_a_child_of_a_supervisor(publisher: Publisher, effects: Effects, asyncq: StartProgram) -> None:
    """A supervisor's child is killed; what it held runs at once, though its lease is long."""
    waiting = await all_of(publisher)
    supervisor = await started(asyncq, "--processes", "2", "--lease", "120", "--concurrency", str(SLOTS))
    await wait_until(lambda: effects.count() > 1_000, "a part has run")
    os.kill(children_of(supervisor.pid)[0], SIGKILL)
    await check(publisher, effects, waiting)


@pytest.mark.parametrize("kind", ["redis"])
async def test_the_server(
    publisher: Publisher,
    effects: Effects,
    asyncq: StartProgram,
    server: RedisServer,
    namespace: str,
) -> None:
    """Redis is killed and comes back with its append-only file: workers and waiters go on, and nothing stays behind."""
    waiting = await all_of(publisher)
    await started(asyncq, *OPTIONS)
    await started(asyncq, *OPTIONS)
    await wait_until(lambda: effects.count() > 1_000, "a part has run")
    await asyncio.to_thread(server.kill)
    await asyncio.to_thread(server.restart)
    await check(publisher, effects, waiting, killed=2)
    queue, space = f"{{{namespace}:default}}", f"{{{namespace}}}"
    of_consumers = [f"{space}:workers", f"{space}:queues_of", f"{queue}:consumer:*"]
    await assert_no_keys_left(
        server.url, namespace, allowed=[f"{space}:queues", f"{queue}:sequence", f"{queue}:wake", *of_consumers]
    )


def children_of(pid: int) -> list[int]:
    """Return the processes that a process has started."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
