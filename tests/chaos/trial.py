"""A trial: workers on a Redis that loses things, calls in numbered batches, and what became of each call."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from asyncq import Broker, BrokerUnavailable, PublishError, ResultMissing, broker_from_url
from tests.chaos.calls import Kind
from tests.chaos.crew import Member
from tests.chaos.history import History, Run
from tests.chaos.journal import JournalReader
from tests.chaos.proxy import Proxy
from tests.chaos.site import NAMESPACE
from tests.chaos.watching import patiently, value_of
from tests.waiting import wait_until

WORKERS = 2
MISSING = "missing"
OPTIONS = ("--lease", "1", "--concurrency", "20", "--shutdown-timeout", "1")


@dataclass(slots=True)
class Batch:
    """Calls that were confirmed before anything else happened, and what their waiters are told: a run, or MISSING."""

    ids: Sequence[str]
    confirmed_at: float
    ends: "dict[str, asyncio.Task[str]]"

    async def told(self, timeout: float) -> dict[str, str]:
        """Wait until every waiter is told; return what. Fails where one hangs."""
        late = (await asyncio.wait(self.ends.values(), timeout=timeout))[1]
        assert not late, f"{len(late)} of {len(self.ids)} waiters hang."
        return {id: end.result() for id, end in self.ends.items()}

    def told_already(self) -> dict[str, str]:
        """Return what waiters were told until now."""
        return {id: end.result() for id, end in self.ends.items() if end.done()}


class Trial:
    """Publishes from this process, over the same network as its workers."""

    def __init__(self, broker: Broker, folder: Path, group: asyncio.TaskGroup) -> None:
        self._broker = broker
        self._folder = folder
        self._group = group
        self._random = Random(1)
        self._batches: list[Batch] = []

        @broker.task(name="tests.chaos.app:run")
        async def run(id: str, kind: str, seconds: float) -> list[Any]: ...

        self._task = run

    async def publish(self, name: str, count: int, *, longest: float = 0.3) -> Batch:
        """Publish so many calls, again until each is confirmed, and wait for all of them."""
        ids = [f"{name}-{number}" for number in range(count)]
        messages = [self._task.options(id=id).message(id, Kind.QUICK, self._random.uniform(0, longest)) for id in ids]
        while True:
            try:
                await self._broker.kiq_many(messages)
            except (PublishError, BrokerUnavailable):
                await asyncio.sleep(0.05)  # before the next try
            else:
                break
        batch = Batch(ids, time.monotonic(), {id: self._group.create_task(self._end_of(id)) for id in ids})
        self._batches.append(batch)
        return batch

    def give_up(self) -> None:
        """Wait no longer: a call may never end once its test has failed."""
        for batch in self._batches:
            for end in batch.ends.values():
                end.cancel()

    async def counts_are_zero(self) -> bool:
        """Tell whether nothing is left to run."""
        [counts] = await (await self._broker.open()).transport.counts(["default"])
        return not any(counts)

    def runs_of(self, batch: Batch) -> dict[str, list[Run]]:
        """Return the runs of each call that ran."""
        history = History({}, [])
        history.take_runs(JournalReader(self._folder / "runs").read())
        return {id: history.runs[id] for id in batch.ids if history.runs[id]}

    async def some_have_run(self, batch: Batch, count: int) -> None:
        """Return when some of the calls have run."""
        await wait_until(lambda: len(self.runs_of(batch)) >= count, "a part has run", timeout=30)

    async def _end_of(self, id: str) -> str:
        try:
            return value_of(await patiently(self._task.handle(id).result))
        except ResultMissing:
            return MISSING


@asynccontextmanager
async def trial(network: Proxy, folder: Path) -> AsyncIterator[Trial]:
    """Start workers; end them and all waits with the block, however it ends, and fail if a worker has ended before."""
    (folder / "misbehaved").mkdir()
    workers = [worker(number, network.url(), folder) for number in range(WORKERS)]
    broker = broker_from_url(network.url(), namespace=NAMESPACE, command_timeout=2)
    async with broker, asyncio.TaskGroup() as group:
        running = [group.create_task(worker.run()) for worker in workers]
        started = Trial(broker, folder, group)
        yield started
        started.give_up()
        for one in workers:
            one.stop()
        late = (await asyncio.wait(running, timeout=20))[1]
        for one in late:
            one.cancel()
    assert not late, "A worker does not stop."
    assert [one.starts for one in workers] == [1] * WORKERS, [one.wrong_ends for one in workers]


def worker(number: int, url: str, folder: Path) -> Member:
    """Return a worker of the application."""
    name = f"worker-{number}"
    return Member(
        name,
        ["-m", "asyncq", "worker", "tests.chaos.app:broker", *OPTIONS],
        folder,
        {"CHAOS_URL": url, "CHAOS_NAMESPACE": NAMESPACE, "CHAOS_FOLDER": str(folder), "CHAOS_CREW": name},
        may_end=(0).__eq__,
        is_endless=True,
    )
