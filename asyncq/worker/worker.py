"""The worker: runs the tasks of a broker until it is stopped."""

import asyncio
import logging
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from functools import partial
from typing import cast

from asyncq.broker import Broker
from asyncq.errors import ConfigurationError, LeaseLost
from asyncq.queues import DEFAULT_QUEUE, check_queue_name
from asyncq.scheduler import Scheduler
from asyncq.worker.embedding import address_of, embedded_command
from asyncq.worker.exits import EXIT_BLOCKED, end_blocked, end_within
from asyncq.worker.health import Health
from asyncq.worker.joining import Joiner
from asyncq.worker.membership import Membership
from asyncq.worker.pool import cores
from asyncq.worker.poolprocess import PoolCommand
from asyncq.worker.recycling import Recycler
from asyncq.worker.releasing import Releaser
from asyncq.worker.settings import WorkerSettings
from asyncq.worker.slots import Slots
from asyncq.worker.stopping import Stopping
from asyncq.worker.threads import Threads

logger = logging.getLogger("asyncq.worker")

DEAF_SECONDS = 10.0
"""How long a process in which nothing can run any more has to hand back what waits there."""


class Worker:
    """Runs tasks: `await Worker(broker, concurrency=10).run()`.

    Args:
        broker: whose tasks.
        queues: which queues, with the slots of each (None: as many as there are). By default those that declared tasks
            name, and "default".
        concurrency: slots: how many tasks run at once.
        burst: return when nothing is ready, instead of waiting for more. What is due later, or has no turn yet, stays.
        shutdown_timeout: seconds that running tasks have to finish after `stop`; the rest is handed back.
        lease: seconds after which others take this worker for dead if they hear nothing of it.
        max_block: seconds a blocked loop is kept alive; then its stack is logged and the process ended. The same holds
            when threads whose runs were given up hold all slots.
        pool_processes: processes for tasks with `runs_in="process"`, at most; they are started when they are needed.
            By default as many as there are cores.
        pool_command: what starts one of them; by default a Python that imports the modules of those tasks.
        max_tasks: after so many runs, and what has begun by then, `run` returns; None: never.
        max_memory: the same when the process has more megabytes in memory. Both hold for each process of the pool, too.
        name: unique among all workers, for ever; by default made of host, process and chance.
        max_waiting: tasks that may lend their slot at a time while they await another task.
        fail_fast: raise when the server cannot be reached at the start, instead of trying on.
        scheduler: run the schedules of the broker, too, beside any number of others that do.
        on_started: called when the worker is about to fetch for the first time.
        on_spent: called in place of `retire` when one of the two limits is reached.

    Attributes:
        name, queues: as above, worked out.

    Raises:
        ConfigurationError: a value that makes no sense.
    """

    def __init__(
        self,
        broker: Broker,
        *,
        queues: Mapping[str, int | None] | None = None,
        concurrency: int = 100,
        burst: bool = False,
        shutdown_timeout: float = 30.0,
        lease: float = 15.0,
        max_block: float = 300.0,
        name: str | None = None,
        max_waiting: int = 1_000,
        pool_processes: int | None = None,
        pool_command: PoolCommand | None = None,
        max_tasks: int | None = None,
        max_memory: float | None = None,
        fail_fast: bool = False,
        scheduler: bool = False,
        on_started: Callable[[], None] | None = None,
        on_spent: Callable[[], None] | None = None,
    ) -> None:
        if concurrency < 1:
            raise ConfigurationError(f"concurrency is 1 or more; got {concurrency!r}.")
        if not lease > 0:
            raise ConfigurationError(f"lease is a number of seconds, more than 0; got {lease!r}.")
        for option, value in (("pool_processes", pool_processes), ("max_tasks", max_tasks), ("max_memory", max_memory)):
            if value is not None and not value > 0:
                raise ConfigurationError(f"{option} is more than 0, or None; got {value!r}.")
        if pool_command is None and any(task.runs_in == "process" for task in broker.tasks.values()):
            address_of(broker)  # what its processes could not find is told now
        self.name = name or f"{socket.gethostname()}-{os.getpid()}-{os.urandom(3).hex()}"
        self.queues = _resolved(broker, queues)
        self._broker = broker
        self._settings = WorkerSettings(
            queues=self.queues,
            concurrency=concurrency,
            max_waiting=max_waiting,
            is_burst=burst,
            shutdown_timeout=shutdown_timeout,
            lease=lease,
            max_block=max_block,
            pool_processes=pool_processes or cores(),
            pool_command=pool_command or partial(embedded_command, broker),
            max_tasks=max_tasks,
            max_memory=max_memory,
        )
        self._joiner = Joiner(broker, self.name, list(self.queues), lease=lease, fail_fast=fail_fast)
        self._releaser = Releaser(broker)
        self._scheduler = Scheduler(broker, lease=lease) if scheduler else None
        self._on_started = on_started
        self._stopping = Stopping()
        self._recycler = Recycler(max_tasks=max_tasks, max_memory=max_memory, spent=on_spent or self.retire)
        self._health: Health | None = None
        self._is_deaf = False

    async def run(self) -> None:
        """Open the broker if need be, and work until stopped, or in burst until nothing is ready; once.

        Raises:
            BrokerUnavailable: the server cannot be reached at the start, with `fail_fast`.
            ConfigurationError: the broker's server or file cannot be used at all.
        """
        self._say_cautions()
        was_open = self._broker.is_open()
        try:
            async with asyncio.TaskGroup() as group:
                working = group.create_task(self._work(self._stopping))
                doers = [self._releaser.run(), self._recycler.run()]
                if self._scheduler is not None:
                    doers.append(self._scheduler.run())
                others = [group.create_task(doer) for doer in doers]
                await working
                for other in others:
                    other.cancel()
        except BaseExceptionGroup as group_error:
            raise _only(group_error) from None
        finally:
            if not was_open:
                await self._broker.close()

    def stop(self) -> None:
        """Stop gracefully; a second time: at once. On the loop's thread; before `run`, it will not start."""
        self._stopping.order()

    def retire(self) -> None:
        """Start nothing more, and return when what runs has ended, however long that takes; `stop` limits it."""
        self._stopping.retire()

    def release(self, names: Sequence[str]) -> None:
        """Hand back what these workers held, which are known to be dead. On the loop's thread."""
        self._releaser.release(names)

    def is_healthy(self, within: float = 30.0) -> bool:
        """Tell whether it works: the server has answered its last fetch within so many seconds, or no slot is free.

        An idle worker fetches at least every 20 seconds. From any thread; False before `run` has joined and after it.
        """
        health = self._health
        return health is not None and health.is_good(within)

    def _say_cautions(self) -> None:
        for caution in self._broker.cautions(self.queues):
            logger.log(logging.INFO if caution.is_fine else logging.WARNING, "%s", caution.text)

    async def _work(self, stopping: Stopping) -> None:
        settings = self._settings
        slots = Slots(settings.concurrency, settings.queues, max_waiting=settings.max_waiting)
        with closing(Threads(slots, max_block=settings.max_block, deaf=self._end_deaf)) as threads:
            try:
                await self._work_with(stopping, slots, threads)
            finally:
                if self._is_deaf:
                    end_blocked()

    def _end_deaf(self) -> None:
        """End the process, but hand back what waits for a slot first: it is not to blame for that end."""
        self._is_deaf = True
        end_within(DEAF_SECONDS, EXIT_BLOCKED)
        self._stopping.at_once.set()
        self._stopping.order()

    async def _work_with(self, stopping: Stopping, slots: Slots, threads: Threads) -> None:
        while not stopping.gracefully.is_set():
            consumer = await self._joiner.joined(stopping.gracefully)
            if consumer is None:
                return
            if self._on_started is not None:
                self._on_started()
                self._on_started = None
            try:
                membership = Membership(
                    self._broker, consumer, self._settings, stopping, self._recycler, slots, threads
                )
                self._health = membership.health
                await membership.run()
            except LeaseLost:
                continue  # under a new name: the old one's deliveries are not ours any more
            finally:
                self._health = None
            return


def _resolved(broker: Broker, queues: Mapping[str, int | None] | None) -> Mapping[str, int | None]:
    """Return the queues to consume and the slots of each: what the worker was told, else what is declared."""
    wanted = queues if queues is not None else _declared(broker)
    if not wanted:
        raise ConfigurationError("A worker needs a queue to consume.")
    resolved: dict[str, int | None] = {}
    for name, limit in wanted.items():
        declared = broker.queues.get(check_queue_name(name))
        resolved[name] = limit if limit is not None or declared is None else declared.concurrency
        if limit is not None and limit < 1:
            raise ConfigurationError(f"Queue {name!r}: a number of slots is 1 or more; got {limit!r}.")
    return resolved


def _declared(broker: Broker) -> dict[str, int | None]:
    names = [DEFAULT_QUEUE, *(task.queue for task in broker.tasks.values())]
    return dict.fromkeys(names)


def _only(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return what is inside nested groups of one; several stay a group."""
    error, *others = group.exceptions
    if others:
        return group
    return _only(cast("BaseExceptionGroup[BaseException]", error)) if isinstance(error, BaseExceptionGroup) else error
