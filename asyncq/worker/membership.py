"""The membership: one consumer's life, from joining its queues to leaving them."""

import asyncio
import logging
from contextlib import suppress
from typing import Any

from asyncq.broker import Broker
from asyncq.broker.session import Session
from asyncq.errors import BrokerUnavailable, LeaseLost
from asyncq.transport import Consumer
from asyncq.worker.calling import Caller
from asyncq.worker.conclusion import Conclusions
from asyncq.worker.executor import Executor
from asyncq.worker.finishing import finish
from asyncq.worker.health import Health
from asyncq.worker.heartbeat import Heartbeat
from asyncq.worker.pool import ProcessPool
from asyncq.worker.progress import ProgressReporter
from asyncq.worker.receiver import Receiver
from asyncq.worker.recycling import MEGABYTE, Recycler
from asyncq.worker.refusals import log_refusal
from asyncq.worker.settings import WorkerSettings
from asyncq.worker.settler import Settler
from asyncq.worker.slots import Slots
from asyncq.worker.stopping import Stopping
from asyncq.worker.threads import Threads

logger = logging.getLogger("asyncq.worker")

HAND_BACK_SECONDS = 5.0
"""How long the last settlements and the hand-back may take; past that the lease runs out instead."""


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
        self._cut_off = asyncio.Event()
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
        settler = Settler(consumer, log_refusal, self._slots.tell_freed)
        reporter = ProgressReporter(self._broker, session.store)
        async with asyncio.TaskGroup() as doers:
            settling = doers.create_task(settler.run())
            try:
                async with asyncio.TaskGroup() as runs:
                    conclusions = Conclusions(
                        self._broker, consumer.name, session.transport.now_ms, lease=settings.lease
                    )
                    caller = self._caller(runs)
                    settle = self._recycler.counted(settler.put)
                    executor = Executor(self._broker, self._slots, conclusions, caller, settle, reporter, runs)
                    self._executor = executor
                    receiver = Receiver(consumer, self._slots, executor, settler, is_burst=settings.is_burst)
                    self.health.attach(receiver, conclusions)
                    doing = (consumer.run(executor.sever), reporter.run(), receiver.widen())
                    upkeep = [doers.create_task(doer) for doer in doing]
                    receiving = doers.create_task(self._receive(receiver))
                    stopping = doers.create_task(self._wait_for_order())
                    watching = doers.create_task(self._watch(session))
                    try:
                        await self._over.wait()
                        await self._stop_receiving(receiver, receiving)
                        await finish(
                            executor, settler, self._stopping, self._cut_off, seconds=settings.shutdown_timeout
                        )
                    finally:
                        executor.close()
            finally:  # also when cancelled: what has ended should not run again
                if not self._is_lost and not settling.done():
                    await self._settle_rest(settler)
            await (self._absolve() if self._is_lost else self._leave())
            for doer in (*upkeep, settling, receiving, stopping, watching):
                doer.cancel()

    def _caller(self, group: asyncio.TaskGroup) -> Caller:
        settings = self._settings
        pool = ProcessPool(
            settings.pool_command,
            group,
            size=settings.pool_processes,
            max_calls=settings.max_tasks,
            max_memory=None if settings.max_memory is None else round(settings.max_memory * MEGABYTE),
        )
        return Caller(self._threads, pool)

    async def _receive(self, receiver: Receiver) -> None:
        try:
            await receiver.run()
        except LeaseLost:
            self._lose()
        self._over.set()

    async def _wait_for_order(self) -> None:
        await self._stopping.gracefully.wait()
        self._over.set()

    async def _watch(self, session: Session) -> None:
        """Stop for what has broken the session: nothing of this consumer would come back with the next one."""
        fault = await session.broken()
        if isinstance(fault, Exception):
            self._fail(fault)

    def _lose(self) -> None:
        if self._has_left:  # a renewal has met that: there was nothing to lose
            return
        if not self._is_lost:
            self._is_lost = True
            logger.error(
                "Worker %s lost its lease: its tasks are no longer its own. Cancelling them here.", self._consumer.name
            )
        self._cut_off.set()
        self._over.set()

    def _fail(self, fault: Exception) -> None:
        """Stop for a fault of our own: without its heartbeat, or its connections, a worker must not go on."""
        self._fault = fault
        self._cut_off.set()
        self._over.set()

    async def _stop_receiving(self, receiver: Receiver, receiving: asyncio.Task[None]) -> None:
        if receiving.done():
            return
        if not self._is_lost and receiver.is_fetching:
            await receiver.stop(1.0)
            await asyncio.wait([receiving], timeout=1.0)
        # The server does not answer, or all slots are taken: what a cut-off fetch was given is handed back at the end.
        receiving.cancel()

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
