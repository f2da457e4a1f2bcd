"""Threads: where plain functions run, and the account of those that go on after their run was given up.

A thread cannot be killed. When its run is given up, by a time limit or a cancellation, its function is told
(`Context.is_cancelled`) and keeps its slot until it really ends: a library that hangs cannot fill the process with
threads.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from math import inf

import anyio
import anyio.to_thread

from asyncq.context import Context, log_facts
from asyncq.worker.slots import SlotLoan, Slots
from asyncq.worker.stacks import stack_of

logger = logging.getLogger("asyncq.worker")

HANGING_SECONDS = 5.0
"""How long a function that was told may take to end before the log says where it hangs."""


class Threads:
    """Calls functions in threads, for one worker, whatever its memberships. On the loop's thread.

    Args:
        slots: of the worker: they bound the threads.
        max_block: seconds for which all slots may be held by threads that were given up.
        deaf: called when they were, and the log has their stacks: nothing can run here any more.
    """

    def __init__(self, slots: Slots, *, max_block: float, deaf: Callable[[], None]) -> None:
        self._slots = slots
        self._max_block = max_block
        self._deaf = deaf
        self._limiter = anyio.CapacityLimiter(inf)  # the slots are the limit; a lent one counts for two threads
        self._loop = asyncio.get_running_loop()
        self._left: dict[ThreadCall, asyncio.TimerHandle] = {}
        self._ending: asyncio.TimerHandle | None = None
        self._is_closed = False

    async def call(self, function: Callable[[], object], context: Context, loan: SlotLoan) -> object:
        """Call it with the context variables of the caller; return or raise what it does.

        Cancelled, it leaves the thread to itself, tells the function and keeps its slot.
        """
        call = ThreadCall(function, context, loan, self._tell_ended)
        try:
            return await anyio.to_thread.run_sync(call, abandon_on_cancel=True, limiter=self._limiter)
        except asyncio.CancelledError:
            if call.give_up():
                self._leave(call)
            raise

    def close(self) -> None:
        """Keep no account any more, and say what goes on: the worker has ended."""
        self._is_closed = True
        for timer in self._left.values():
            timer.cancel()
        if going_on := [call for call in self._left if not call.has_ended]:
            logger.warning(
                "The worker has ended; %d threads whose runs were given up go on here:\n%s",
                len(going_on),
                _places_of(going_on),
            )
        if self._ending is not None:
            self._ending.cancel()

    def _leave(self, call: "ThreadCall") -> None:
        call.context.is_cancelled = True
        if self._is_closed:
            return
        call.loan.keep()
        self._left[call] = self._loop.call_later(HANGING_SECONDS, self._report, call)
        self._look_whether_deaf()

    def _tell_ended(self, call: "ThreadCall") -> None:
        with suppress(RuntimeError):  # the loop is closed: the process is ending
            self._loop.call_soon_threadsafe(self._ended, call)

    def _ended(self, call: "ThreadCall") -> None:
        if call not in self._left:
            return
        self._left.pop(call).cancel()
        call.loan.let_go()
        if call.is_reported:
            logger.info("The thread of %s has ended. %d hang.", call, len(self._left), extra=call.facts)
        self._look_whether_deaf()

    def _report(self, call: "ThreadCall") -> None:
        call.is_reported = True
        logger.warning(
            "The thread of %s goes on %.0f s after its run was given up, and keeps its slot. %d threads hang, of %d "
            "slots. It is here:\n%s",
            call,
            call.seconds_left,
            len(self._left),
            self._slots.total,
            stack_of(call.thread),
            extra=call.facts,
        )

    def _is_deaf(self) -> bool:
        return sum(call.loan.has_slot for call in self._left) >= self._slots.total

    def _look_whether_deaf(self) -> None:
        """Have the process end in time if nothing can run in it any more, or not end if something can."""
        if self._is_closed:
            return
        if self._ending is not None and not self._is_deaf():
            self._ending.cancel()
            self._ending = None
        elif self._ending is None and self._is_deaf():
            self._ending = self._loop.call_later(self._max_block, self._end)

    def _end(self) -> None:
        self._ending = None
        if not self._is_deaf():  # one of them waits for another task, and has lent its slot meanwhile
            self._look_whether_deaf()
            return
        logger.critical(
            "All %d slots have been held for %.0f s (--max-block) by threads whose runs were given up. "
            "Ending the process.\n%s",
            self._slots.total,
            self._max_block,
            _places_of(self._left),
        )
        self._deaf()


def _places_of(calls: Iterable["ThreadCall"]) -> str:
    return "\n".join(f"{call}:\n{stack_of(call.thread)}" for call in calls)


class ThreadCall:
    """One call in a thread. What the loop and the thread both change is under a lock.

    Attributes:
        context, loan: of its run.
        thread: identifier of the thread; 0 until it has begun.
        has_ended: the function has returned or raised.
        is_reported: the log has said that it hangs.
    """

    def __init__(
        self,
        function: Callable[[], object],
        context: Context,
        loan: SlotLoan,
        ended: Callable[["ThreadCall"], None],
    ) -> None:
        self.context = context
        self.loan = loan
        self.thread = 0
        self.is_reported = False
        self._function = function
        self._tell_ended = partial(ended, self)
        self._lock = threading.Lock()
        self.has_ended = False
        self._given_up_at: float | None = None

    def __call__(self) -> object:
        with self._lock:
            if self._given_up_at is not None:  # before it began: nobody waits for its end
                return None
            self.thread = threading.get_ident()
        try:
            return self._function()
        finally:
            with self._lock:
                self.has_ended = True
                is_given_up = self._given_up_at is not None
            if is_given_up:
                self._tell_ended()

    def __str__(self) -> str:
        return f"{self.context.message.task} {self.context.message.id}"

    @property
    def facts(self) -> dict[str, object]:
        """What log records about it carry."""
        return log_facts(self.context.message)

    @property
    def seconds_left(self) -> float:
        """For how long it has been left to itself."""
        return time.monotonic() - (self._given_up_at or 0.0)

    def give_up(self) -> bool:
        """Wait for it no longer; return whether it goes on: then its end is told."""
        with self._lock:
            self._given_up_at = time.monotonic()
            return self.thread != 0 and not self.has_ended
