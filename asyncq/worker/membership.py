"""The membership: one consumer's life, from joining its queues to leaving them."""

import asyncio
import logging
import time
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from asyncq.broker import Broker
from asyncq.errors import BrokerUnavailable, LeaseLost
from asyncq.transport import Consumer, Return, Settlement
from asyncq.worker.calling import Caller
from asyncq.worker.conclusion import Conclusions
from asyncq.worker.executor import Executor
from asyncq.worker.health import Health
from asyncq.worker.heartbeat import Heartbeat
from asyncq.worker.pool import ProcessPool
from asyncq.worker.poolprocess import PoolCommand
from asyncq.worker.progress import ProgressReporter
from asyncq.worker.receiver import Receiver
from asyncq.worker.recycling import MEGABYTE, Recycler
from asyncq.worker.settler import Settler
from asyncq.worker.slots import Slots
from asyncq.worker.threads import Threads

logger = logging.getLogger("asyncq.worker")

CLEANUP_SECONDS = 5.0
"""How long cancelled tasks may take to clean up before they are cancelled again."""

HAND_BACK_SECONDS = 5.0
"""How long the last settlements and the hand-back may take; past that the lease runs out instead."""


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """What a worker was told.

    Attributes:
        queues: slots of each queue; None: as many as there are.
        concurrency: slots in all.
        max_waiting: runs whose slot is lent out at a time.
        is_burst: end when the queues are empty.
        shutdown_timeout: seconds that running tasks have to finish.
        lease: seconds after which a silent worker is taken for dead.
        max_block: seconds a blocked loop is kept alive.
        pool_processes: processes for tasks that run in one, at most.
        pool_command: what starts one.
        max_tasks: calls after which a process is replaced; None: never.
        max_memory: megabytes above which it is; None: never.
    """

    queues: Mapping[str, int | None]
    concurrency: int
    max_waiting: int
    is_burst: bool
    shutdown_timeout: float
    lease: float
    max_block: float
    pool_processes: int
    pool_command: PoolCommand
    max_tasks: int | None
    max_memory: float | None


class Stopping:
    """The order to stop: when all tasks have ended, or within the time for it, or at once.

    Attributes:
        gracefully: nothing new is to be started.
        in_time: what runs has a limited time to finish.
        at_once: it has none.
    """

    def __init__(self) -> None:
        self.gracefully = asyncio.Event()
        self.in_time = asyncio.Event()
        self.at_once = asyncio.Event()

    def order(self) -> None:
        """Give the order; a second time: at once."""
        (self.at_once if self.in_time.is_set() else self.in_time).set()
        self.gracefully.set()

    def retire(self) -> None:
        """Give the order to start nothing more, without a limit for what runs."""
        self.gracefully.set()


class Membership:
    """Works as one consumer until it is stopped, its burst is over, or its lease is lost.

    Args:
        broker, consumer, settings, stopping, recycler: of the worker.
        slots, threads: of the worker, too: what hangs from one membership is in the account of the next.

    Attributes:
        health: what it shows of itself.
    """

    def __init__(
        self,
        broker: Broker,
        consumer: Consumer,
        settings: WorkerSettings,
        stopping: Stopping,
        recycler: Recycler,
        slots: Slots,
        threads: Threads,
    ) -> None:
        self._broker = broker
        self._consumer = consumer
        self._settings = settings
        self._stopping = stopping
        self._slots = slots
        self._threads = threads
        self.health = Health(consumer, self._slots, started_ms=broker.now_ms(), lease=settings.lease)
        self._recycler = recycler
        self._is_lost = False
        self._has_left = False
        self._fault: Exception | None = None
        self._over = asyncio.Event()
        self._is_cut_off = asyncio.Event()
        self._executor: Executor | None = None

    async def run(self) -> None:
        """Work, and leave. Raises LeaseLost when somebody else has taken over."""
        settings, consumer = self._settings, self._consumer
        heartbeat = Heartbeat(
            consumer.lease(),
            seconds=settings.lease,
            max_block=settings.max_block,
            lost=self._lose,
            failed=self._fail,
            about=self.health.vitals,
            name_of=self._name_of,
        )
        heartbeat.start()
        try:
            await self._work()
        finally:
            try:
                if not self._is_lost and not self._has_left:  # cancelled from outside, or a fault of our own
                    await self._leave()
                if self.health.dead:
                    logger.warning("Dead letters of this worker: %d. `asyncq dead list` shows them.", self.health.dead)
            finally:  # also when cancelled again: a lease that is renewed for ever keeps others from what it guards
                await heartbeat.stop()
        if self._fault is not None:
            raise self._fault
        if self._is_lost:
            raise LeaseLost(f"The lease of {consumer.name} was lost.")

    async def _work(self) -> None:
        settings, consumer = self._settings, self._consumer
        session = await self._broker.open()
        settler = Settler(consumer, self._refused)
        reporter = ProgressReporter(self._broker, session.store)
        async with asyncio.TaskGroup() as doers:
            settling = doers.create_task(settler.run())
            try:
                async with asyncio.TaskGroup() as runs:
                    conclusions = Conclusions(
                        self._broker, consumer.name, session.transport.now_ms, lease=settings.lease
                    )
                    caller = self._caller(conclusions, runs)
                    settle = self._recycler.counted(settler.put)
                    executor = Executor(self._broker, self._slots, conclusions, caller, settle, reporter, runs)
                    self._executor = executor
                    receiver = Receiver(consumer, self._slots, executor, settler, is_burst=settings.is_burst)
                    self.health.attach(receiver, conclusions)
                    doing = (consumer.run(executor.sever), reporter.run(), receiver.widen())
                    upkeep = [doers.create_task(doer) for doer in doing]
                    receiving = doers.create_task(self._receive(receiver))
                    stopping = doers.create_task(self._wait_for_order())
                    try:
                        await self._over.wait()
                        await self._stop_receiving(receiver, receiving)
                        await self._finish(executor, settler)
                    finally:
                        executor.close()
            finally:  # also when cancelled: what has ended should not run again
                if not self._is_lost and not settling.done():
                    await self._settle_rest(settler)
            await (self._absolve() if self._is_lost else self._leave())
            for doer in (*upkeep, settling, receiving, stopping):
                doer.cancel()

    def _caller(self, conclusions: Conclusions, group: asyncio.TaskGroup) -> Caller:
        settings = self._settings
        pool = ProcessPool(
            settings.pool_command,
            group,
            size=settings.pool_processes,
            max_calls=settings.max_tasks,
            max_memory=None if settings.max_memory is None else round(settings.max_memory * MEGABYTE),
        )
        return Caller(conclusions, self._threads, pool)

    async def _receive(self, receiver: Receiver) -> None:
        try:
            await receiver.run()
        except LeaseLost:
            self._lose()
        self._over.set()

    async def _wait_for_order(self) -> None:
        await self._stopping.gracefully.wait()
        self._over.set()

    def _lose(self) -> None:
        if self._has_left:  # a renewal has met that: there was nothing to lose
            return
        if not self._is_lost:
            self._is_lost = True
            logger.error(
                "Worker %s lost its lease: its tasks are no longer its own. Cancelling them here.", self._consumer.name
            )
        self._is_cut_off.set()
        self._over.set()

    def _fail(self, fault: Exception) -> None:
        """Stop for a fault of our own: without its heartbeat a worker must not go on."""
        self._fault = fault
        self._is_cut_off.set()
        self._over.set()

    async def _stop_receiving(self, receiver: Receiver, receiving: asyncio.Task[None]) -> None:
        if receiving.done():
            return
        if not self._is_lost and receiver.is_fetching:
            await receiver.stop(1.0)
            await asyncio.wait([receiving], timeout=1.0)
        # The server does not answer, or all slots are taken: what a cut-off fetch was given is handed back at the end.
        receiving.cancel()

    async def _finish(self, executor: Executor, settler: Settler) -> None:
        """Let running tasks finish in the time they have; cancel the rest, again and again if need be.

        If the server does not answer, it has what is left of that time to come back for what has ended.
        """
        if executor.running and not self._stopping.in_time.is_set() and not self._is_cut_off.is_set():
            logger.info("Waiting for %d running tasks.", executor.running)
            await self._first_of(executor.wait_idle(), self._stopping.in_time.wait(), self._is_cut_off.wait())
        seconds, began = self._settings.shutdown_timeout, time.monotonic()
        if executor.running and not self._is_cut_off.is_set():
            logger.info("Waiting up to %g s for %d running tasks.", seconds, executor.running)
            ends = (executor.wait_idle(), self._stopping.at_once.wait(), self._is_cut_off.wait())
            await self._first_of(*ends, timeout=seconds)
        while executor.running:
            logger.warning("Cancelling %d tasks.", executor.running)
            executor.cancel()
            with suppress(TimeoutError):
                async with asyncio.timeout(CLEANUP_SECONDS):
                    await executor.wait_idle()
        if not settler.is_empty and not self._is_cut_off.is_set():
            ends = (settler.wait_empty(), self._stopping.at_once.wait(), self._is_cut_off.wait())
            await self._first_of(*ends, timeout=max(0.0, began + seconds - time.monotonic()))

    async def _first_of(self, *ends: Coroutine[Any, Any, object], timeout: float | None = None) -> None:
        """Wait for one of them, or for the time to be over."""
        async with asyncio.TaskGroup() as group:
            waits = [group.create_task(end) for end in ends]
            await asyncio.wait(waits, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            for wait in waits:
                wait.cancel()

    async def _settle_rest(self, settler: Settler) -> None:
        try:
            async with asyncio.timeout(HAND_BACK_SECONDS):
                await settler.wait_empty()
        except TimeoutError:
            logger.warning("Could not settle the last tasks: the server does not answer. They will run again.")

    async def _leave(self) -> None:
        """Hand back what is still held, so that nobody has to wait for the end of the lease."""
        self._has_left = True
        try:
            async with asyncio.timeout(HAND_BACK_SECONDS):
                count = await self._consumer.leave()
        except (BrokerUnavailable, TimeoutError) as error:
            logger.warning("Could not hand back; what was unfinished runs again when the lease is over: %s", error)
        else:
            if count:
                logger.info("Handed back %d tasks.", count)

    async def _absolve(self) -> None:
        """Say that this worker has not died of what it held when it was taken for dead."""
        with suppress(BrokerUnavailable, TimeoutError):  # then some are under suspicion without need
            async with asyncio.timeout(HAND_BACK_SECONDS):
                await self._consumer.absolve()

    def _name_of(self, task: "asyncio.Task[Any]") -> str | None:
        return None if self._executor is None else self._executor.name_of(task)

    def _refused(self, settlement: Settlement, is_news: bool) -> None:
        delivery = settlement.delivery
        if is_news and not isinstance(settlement, Return):  # who hands back has lost nothing
            facts = {"task_id": delivery.id, "queue": delivery.queue}
            logger.warning("The end of %s took no effect: it was no longer ours.", delivery.id, extra=facts)
