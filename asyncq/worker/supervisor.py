"""The supervisor: keeps child processes running, and imports neither the application nor a client library."""

import asyncio
import logging
import os
import socket
from contextlib import suppress
from enum import Enum, auto
from random import Random

from asyncq.backoff import Backoff
from asyncq.worker.process import ChildProcess, Command, cause_of_death

logger = logging.getLogger("asyncq.worker")

STEADY = 10.0
"""Seconds after which a child counts as having run well: its end is no reason to wait with the next one."""

KILL_AFTER = 5.0
"""Seconds that a child has to hand back its work, once its time to finish it is over."""

RELEASED_BY = 30.0
"""Seconds after which a child has surely done what it was told to release: if it dies sooner, another is told."""

_AGAIN = Backoff(delay=0.5, max_delay=30.0)


class Next(Enum):
    """What follows from the end of a child."""

    NOTHING = auto()
    REPLACE = auto()
    GIVE_UP = auto()


class Supervisor:
    """Runs children until it is stopped, their bursts are over, or they cannot start.

    Args:
        command: returns what to start for a child.
        processes: how many children.
        shutdown_timeout: seconds that children give their running tasks; `KILL_AFTER` later they are killed.
        is_burst: a child that ends with exit code 0 has done its work.
    """

    def __init__(self, command: Command, *, processes: int, shutdown_timeout: float, is_burst: bool = False) -> None:
        self._command = command
        self._processes = processes
        self._shutdown_timeout = shutdown_timeout
        self._is_burst = is_burst
        self._name = f"{socket.gethostname()}-{os.getpid()}-{os.urandom(3).hex()}"
        self._spawned = 0
        self._children: set[ChildProcess] = set()
        self._bereft: set[str] = set()
        self._stopping = asyncio.Event()
        self._is_rolling = False
        self._must_look = False
        self._replacing = asyncio.Lock()
        self._exit_code = 0
        self._group = asyncio.TaskGroup()
        self._random = Random()

    async def run(self) -> int:
        """Keep the children running; return the exit code for this process."""
        async with self._group:
            await self._start_all()
        return self._exit_code

    def stop(self) -> None:
        """Stop all children gracefully; a second time: at once."""
        at_once = self._stopping.is_set()
        self._stopping.set()
        if self._children:
            how = "at once" if at_once else "once they have finished what they run. Again to stop at once"
            logger.info("Stopping %d worker processes %s.", len(self._children), how)
        for child in self._children:
            self._order_to_stop(child, at_once=at_once)

    def restart(self) -> None:
        """Replace the children one by one; each is told to stop only when its successor has started."""
        if not self._is_rolling and not self._stopping.is_set() and self._children:
            self._is_rolling = True
            self._group.create_task(self._roll())

    async def _start_all(self) -> None:
        """Start the others once the first has imported the application: an error in it is shown once, not N times."""
        first = await self._start(is_first=True)
        self._group.create_task(self._keep(first))
        await first.loaded.wait()
        if self._next(first) is Next.GIVE_UP:
            return
        for _ in range(self._processes - 1):
            if not self._stopping.is_set():
                self._group.create_task(self._keep(await self._start()))

    async def _start(self, *, is_first: bool = False) -> ChildProcess:
        self._spawned += 1
        child = await ChildProcess.spawn(self._command, f"{self._name}-{self._spawned}", is_first=is_first)
        self._children.add(child)
        self._group.create_task(self._watch(child))
        if self._stopping.is_set():  # the order to stop came while the process was being made
            self._order_to_stop(child)
        return child

    async def _watch(self, child: ChildProcess) -> None:
        """Follow a child to its end, and see to what it leaves behind."""
        relieving = self._group.create_task(self._relieve(child))
        self._group.create_task(self._recycle(child))
        code = await child.run()
        self._children.discard(child)
        relieving.cancel()
        left = set(child.to_release)
        if code != 0:
            logger.warning("Worker process %d %s.", child.pid, cause_of_death(code))
            left.add(child.name)
        self._release(left)
        if self._is_burst and self._looks_again_after(child):
            self._group.create_task(self._keep(await self._start()))

    def _looks_again_after(self, child: ChildProcess) -> bool:
        """Tell whether somebody must look once more what there is to do, now that this child has ended.

        One that was replaced fetches nothing more, but what runs in it may publish to the end.
        """
        self._must_look = self._must_look or child.is_retired
        is_last = not self._children and (child.is_retired or child.exit_code == 0)  # others are replaced anyway
        if not self._must_look or not is_last or self._stopping.is_set():
            return False
        self._must_look = False
        return True

    async def _relieve(self, child: ChildProcess) -> None:
        """Once a child has started, let it release what was left when nobody was there."""
        await child.started.wait()
        names, self._bereft = self._bereft, set()
        self._entrust(child, names)

    def _release(self, names: set[str]) -> None:
        """Have a sibling release what dead workers held; without one, the next that starts."""
        for sibling in self._children:
            if sibling.has_started:
                self._entrust(sibling, names)
                return
        self._bereft |= names

    def _entrust(self, child: ChildProcess, names: set[str]) -> None:
        if names:
            child.order("release", *names)
            child.to_release |= names
            asyncio.get_running_loop().call_later(RELEASED_BY, child.to_release.difference_update, names)

    async def _keep(self, child: ChildProcess) -> None:
        """See to it that there is a child, as long as one is missed."""
        loop = asyncio.get_running_loop()
        failures = 0
        while True:
            began = loop.time()
            await child.ended.wait()
            follows = self._next(child)
            if follows is Next.GIVE_UP:
                self._give_up(child)
            if follows is not Next.REPLACE:
                return
            failures = 1 if loop.time() - began > STEADY else failures + 1
            await self._pause(failures)
            if self._stopping.is_set():
                return
            child = await self._start()

    def _next(self, child: ChildProcess) -> Next:
        """Decide what follows from the end of a child."""
        code = child.exit_code
        if code is None or child.is_retired or self._stopping.is_set() or (code == 0 and self._is_burst):
            return Next.NOTHING
        if code <= 0 or child.has_started or any(sibling.has_started for sibling in self._children):
            return Next.REPLACE
        return Next.GIVE_UP

    def _give_up(self, child: ChildProcess) -> None:
        """End everything: nobody runs, and the next child would fail to start as this one did."""
        self._exit_code = child.exit_code or 1
        self._stopping.set()
        for sibling in self._children:
            self._order_to_stop(sibling)

    async def _pause(self, failures: int) -> None:
        """Wait before the next start, not at all after the first failure; an order to stop ends it."""
        if failures < 2:
            return
        delay = _AGAIN.seconds(failures - 1, self._random)
        logger.warning("Starting another worker process in %.1f s.", delay)
        with suppress(TimeoutError):
            async with asyncio.timeout(delay):
                await self._stopping.wait()

    async def _roll(self) -> None:
        logger.info("Replacing %d worker processes one by one.", len(self._children))
        is_first = True
        for old in list(self._children):
            async with self._replacing:
                if not self._is_serving(old):  # it ended, or is replaced already
                    continue
                new = await self._successor(old, is_first=is_first)
            is_first = False
            if new is None and old.exit_code is not None:
                continue
            if new is None:
                if not self._stopping.is_set():
                    logger.error("The new worker process failed to start; the old ones go on.")
                break
            self._order_to_stop(old)
            await old.ended.wait()
        self._is_rolling = False

    async def _recycle(self, child: ChildProcess) -> None:
        """Replace a child that asks for it, one at a time, as soon as there is a successor that works."""
        await child.spent.wait()
        failures = 0
        while child.is_spent and self._is_serving(child):
            async with self._replacing:
                new = await self._successor(child) if self._is_serving(child) else None
            if new is not None:
                logger.info("Worker process %d takes the place of %d.", new.pid, child.pid)
                child.order("retire")
            elif self._is_serving(child):
                failures += 1
                logger.error("The successor of worker process %d failed to start; it goes on.", child.pid)
                await self._pause(failures + 1)

    def _is_serving(self, child: ChildProcess) -> bool:
        """Tell whether a child has its place, and nobody is about to take it."""
        return child.exit_code is None and not child.is_retired and not self._stopping.is_set()

    async def _successor(self, old: ChildProcess, *, is_first: bool = False) -> ChildProcess | None:
        """Start a child that takes the place of another; None, and nothing has changed, when that fails."""
        new = await self._start(is_first=is_first)
        await new.started.wait()
        if not new.has_started:
            return None
        if old.exit_code is not None:  # it died meanwhile, and has a successor already
            new.is_retired = True
            self._order_to_stop(new)
            return None
        old.is_retired = True
        self._group.create_task(self._keep(new))
        return new

    def _order_to_stop(self, child: ChildProcess, *, at_once: bool = False) -> None:
        child.order("abort" if at_once else "stop")
        child.kill_in(KILL_AFTER if at_once else self._shutdown_timeout + KILL_AFTER)
