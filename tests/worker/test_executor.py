"""The executor: what has a slot gives it back, however it ends."""

import asyncio
from collections.abc import Callable
from functools import partial

import pytest

from asyncq import MemoryBroker
from asyncq.transport import Delivery, Return, Settlement
from asyncq.worker.calling import Caller
from asyncq.worker.conclusion import Conclusions
from asyncq.worker.embedding import embedded_command
from asyncq.worker.executor import Executor
from asyncq.worker.pool import ProcessPool
from asyncq.worker.progress import ProgressReporter
from asyncq.worker.slots import Slots
from asyncq.worker.threads import Threads

CANCELLATIONS: dict[str, Callable[[Executor], None]] = {
    "the call was cancelled": lambda executor: executor.sever(["id"]),
    "the worker stops": lambda executor: executor.cancel(),
}


@pytest.mark.parametrize("how", CANCELLATIONS)
async def test_a_run_that_is_cancelled_before_its_first_step(how: str) -> None:
    """A run that is cancelled in the turn of the loop in which it was started gives back its slot and its delivery."""
    delivery = Delivery("id", "default", b"", 0, "token", 0)
    settled: list[Settlement] = []
    slots = Slots(1, {"default": None}, max_waiting=0)
    async with MemoryBroker() as broker, asyncio.TaskGroup() as group:
        session = await broker.open()
        conclusions = Conclusions(broker, "worker", session.transport.now_ms)
        pool = ProcessPool(partial(embedded_command, broker), group, size=1)
        caller = Caller(conclusions, Threads(slots, max_block=60), pool)
        reporter = ProgressReporter(broker, session.store)
        executor = Executor(broker, slots, conclusions, caller, settled.append, reporter, group)
        executor.start(delivery)
        CANCELLATIONS[how](executor)
        await executor.wait_idle()
        assert settled == [Return(delivery)]
        assert (slots.free, executor.held, executor.running) == (1, [], 0)
