"""The heartbeat: renews the lease from a thread of its own, watches the loop, and takes over from dead workers."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from typing import Any

from asyncq.context import context_of
from asyncq.errors import BrokerUnavailable
from asyncq.transport import Lease
from asyncq.worker.exits import end_blocked
from asyncq.worker.stacks import frame_of, stack_of

logger = logging.getLogger("asyncq.worker")

BLOCKED_SECONDS = 1.0
"""A loop that does not answer for so long is reported as blocked."""

LATE_SECONDS = 0.1
"""How long after the end of another's lease we look: it is renewed well before, or not at all."""

CUT_OFF = 2 / 3
"""Part of a lease without a renewal after which others may have lost theirs: everybody renews each third of it."""

STEP_SECONDS = 0.3
"""A lease that ends so much earlier than was seen before: nobody shortens one, so the clock that tells it was set."""


class Heartbeat:
    """Keeps a consumer's lease while its process lives and its loop is not blocked for too long.

    It runs beside the loop, so that a task that blocks the loop does not lose the lease. Code that holds the
    interpreter lock longer than the lease stops this thread too: its run is taken over and happens again.

    Args:
        lease: the consumer's.
        seconds: length of the lease; it is renewed each third of that.
        max_block: seconds a blocked loop is kept alive; then its stack is logged and the process ended.
        lost: called on the loop when the lease is no longer ours.
        failed: called on the loop with a fault of our own, which ended the thread.
        about: returns what the worker tells of itself with each renewal; called on the thread.
        name_of: returns name and id of the call that an asyncio task runs, if it runs one; called on the thread.
    """

    def __init__(
        self,
        lease: Lease,
        *,
        seconds: float,
        max_block: float,
        lost: Callable[[], None],
        failed: Callable[[Exception], None],
        about: Callable[[], bytes] | None = None,
        name_of: Callable[[asyncio.Task[Any]], str | None] = lambda _: None,
    ) -> None:
        self._lease = lease
        self._seconds = seconds
        self._max_block = max_block
        self._lost = lost
        self._failed = failed
        self._about = about
        self._name_of = name_of
        self._loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        self._stopping = threading.Event()
        self._ended = asyncio.Event()
        self._answered_at = time.monotonic()
        self._is_asked = False
        self._reported_block = 0.0
        self._connected_since: float | None = None
        self._is_failing = False
        self._renewed_at = 0.0
        self._next_end_at: float | None = None
        self._thread = threading.Thread(target=self._run, name="asyncq-heartbeat", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    async def stop(self) -> None:
        """Stop the thread, and wait for it; it stops also when the wait is cancelled."""
        self._stopping.set()
        await self._ended.wait()  # not in the loop's executor: tasks that hang may have taken all of its threads
        self._thread.join()

    def _run(self) -> None:
        try:
            self._keep()
            while not self._stopping.wait(BLOCKED_SECONDS):  # the loop that has to hear of it may be blocked
                self._watch_loop()
        finally:
            self._tell_loop(self._ended.set)

    def _keep(self) -> None:
        """Keep the lease until this is stopped, or it is lost or cannot be kept, which the loop is told."""
        try:
            with closing(self._lease):
                self._beat()
        except Exception as error:
            self._tell_loop(partial(self._failed, error))

    def _beat(self) -> None:
        renew_at = look_at = time.monotonic()
        while not self._stopping.is_set():
            self._watch_loop()
            now = time.monotonic()
            if now >= renew_at:
                if not self._renew():
                    return
                renew_at = now + (self._seconds / 3 if self._connected_since else min(1.0, self._seconds / 6))
            if now >= look_at:
                look_at = now + self._look()
            wake_at = min(renew_at, look_at, now + BLOCKED_SECONDS)
            self._stopping.wait(max(0.0, wake_at - time.monotonic()))

    def _renew(self) -> bool:
        """Renew the lease; return False when it is lost for good."""
        try:
            is_held = self._lease.renew(self._about() if self._about else None)
        except BrokerUnavailable as error:
            if not self._is_failing:
                logger.warning("Cannot renew the lease: %s", error)
            self._is_failing = True
            self._connected_since = None
            return True
        if not is_held:
            self._tell_loop(self._lost)
            return False
        self._is_failing = False
        if self._connected_since is None or self._is_cut_off():
            self._connected_since = time.monotonic()
        self._renewed_at = time.monotonic()
        return True

    def _look(self) -> float:
        """Take over from workers whose lease has run out; return the seconds until the next look.

        Only a reclaimer that has itself been connected for a full lease may judge: after an outage everybody's lease
        has run out, and everybody needs the chance to renew it first.
        """
        since = self._connected_since
        if since is None:
            return min(1.0, self._seconds / 3)
        if (left := since + self._seconds - time.monotonic()) > 0:
            return left
        try:
            end = self._lease.next_end()
            if end is None:
                self._next_end_at = None
                return self._seconds
            has_jumped = self._has_jumped(end)
            if end > 0:
                return min(self._seconds, end + LATE_SECONDS)
            # The answer has been so long on its way, or the machine was asleep, or its clock was set: everybody's lease
            # may have run out at once, and is to be renewed first.
            if self._is_cut_off() or has_jumped:
                self._connected_since = None
                return LATE_SECONDS
            for name, count in self._lease.reclaim().items():
                logger.warning("Worker %s is dead: its lease ran out. %d of its tasks run again.", name, count)
        except BrokerUnavailable:
            self._connected_since = None
        return LATE_SECONDS

    def _has_jumped(self, end: float) -> bool:
        """Tell whether the earliest end has come nearer faster than time has passed."""
        before, self._next_end_at = self._next_end_at, time.monotonic() + end
        return before is not None and self._next_end_at < before - STEP_SECONDS

    def _is_cut_off(self) -> bool:
        """Tell whether the server gave no sign for so long, without an error, that it may have been away for all."""
        return time.monotonic() - self._renewed_at > self._seconds * CUT_OFF

    def _watch_loop(self) -> None:
        """Ask the loop for a sign of life: say when it gives none, and end the process when it gives none for long."""
        now = time.monotonic()
        if not self._is_asked:
            self._is_asked = True
            self._answered_at = now
            self._tell_loop(self._answer)
            return
        blocked = now - self._answered_at
        if blocked >= self._max_block:
            logger.critical(
                "The loop was blocked for %.0f s (--max-block) %s. Ending the process.\n%s",
                blocked,
                self._where(),
                stack_of(self._loop_thread),
            )
            end_blocked()
        if blocked >= BLOCKED_SECONDS and blocked >= 2 * self._reported_block:
            self._reported_block = blocked
            logger.warning("The loop has been blocked for %.1f s %s", blocked, self._where())

    def _answer(self) -> None:
        self._is_asked = False
        self._reported_block = 0.0

    def _tell_loop(self, callback: Callable[[], None]) -> None:
        try:
            self._loop.call_soon_threadsafe(callback)
        except RuntimeError:  # the loop was closed under us: there is nobody left to work for
            self._stopping.set()

    def _where(self) -> str:
        """Return which task blocks the loop, and where."""
        task = asyncio.current_task(self._loop)
        frame = frame_of(self._loop_thread)
        by = f"by task {self._name_of(task) or _started_by(task)}" if task is not None else "by a callback"
        if frame is None:
            return by
        return f"{by}, file {frame.f_code.co_filename}, line {frame.f_lineno}, in {frame.f_code.co_qualname}"


def _started_by(task: asyncio.Task[Any]) -> str:
    """Return the name of an asyncio task, with name and id of the call whose function has started it, if one has."""
    context = context_of(task)
    return task.get_name() if context is None else f"{context.message.task} {context.message.id} ({task.get_name()})"
