"""The executor alone, on deliveries of a broker in memory."""

import asyncio

import pytest

from asyncq import MemoryBroker
from asyncq.transport import Return, Settlement
from asyncq.worker.calling import Caller
from asyncq.worker.conclusion import Conclusions
from asyncq.worker.executor import Executor
from asyncq.worker.pool import ProcessPool
from asyncq.worker.progress import ProgressReporter
from asyncq.worker.slots import Slots
from asyncq.worker.threads import Threads


@pytest.mark.parametrize("how", ["sever", "cancel"])
async def test_cancelled_before_its_first_step(how: str) -> None:
    """A run that is cancelled in the very moment it was started is handed back, and gives its slot back."""
    settled: list[Settlement] = []
    async with MemoryBroker() as broker, asyncio.TaskGroup() as group:

        @broker.task
        async def work() -> None: ...

        await work.kiq()
        session = await broker.open()
        consumer = await session.transport.consumer("one", ["default"], lease=60)
        [delivery] = await consumer.fetch({"default": 1}, 1)
        slots = Slots(1, {"default": None}, max_waiting=1)
        conclusions = Conclusions(broker, "one", session.transport.now_ms, lease=60)
        threads = Threads(slots, max_block=1, deaf=lambda: None)
        caller = Caller(threads, ProcessPool(lambda _: (), group, size=1))
        reporter = ProgressReporter(broker, session.store)
        executor = Executor(broker, slots, conclusions, caller, settled.append, reporter, group)

        executor.start(delivery)
        if how == "sever":
            executor.sever([delivery.token])
        else:
            executor.cancel()
        await executor.wait_idle()
        await consumer.leave()

    assert settled == [Return(delivery)]
    assert (slots.free, list(executor.held)) == (1, [])
