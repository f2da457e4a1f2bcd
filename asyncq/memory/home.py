"""The home loop: how other threads and other loops reach what lives on one event loop."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress

from asyncq.store import Listener, Notice


class HomeLoop:
    """The event loop that runs where this is made. A closed one is not called any more, and nobody minds."""

    __slots__ = ("_loop", "_thread")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()

    def call_soon(self, callback: Callable[[], None]) -> None:
        """Call back in one of the loop's next turns, never inline."""
        with suppress(RuntimeError):  # "Event loop is closed": its program ended without a goodbye
            if threading.get_ident() == self._thread:
                self._loop.call_soon(callback)
            else:
                self._loop.call_soon_threadsafe(callback)


class Bell:
    """Wakes one coroutine, rung from any thread by whoever holds the state's lock."""

    __slots__ = ("_event", "_home", "_is_rung")

    def __init__(self) -> None:
        self._home = HomeLoop()
        self._event = asyncio.Event()
        self._is_rung = False

    def ring(self) -> None:
        """Wake who waits now, or the next to wait unless it is cleared before."""
        if not self._is_rung:
            self._is_rung = True
            self._home.call_soon(self._event.set)

    def clear(self) -> None:
        """Forget that it was rung. Look for what it tells of after this, and under the same lock."""
        self._is_rung = False
        self._event.clear()

    async def wait(self, timeout: float | None) -> None:
        """Wait until it is rung, or for so many seconds; None: no limit."""
        timer = None if timeout is None else asyncio.get_running_loop().call_later(timeout, self._event.set)
        try:
            await self._event.wait()
        finally:
            if timer is not None:
                timer.cancel()


class Mailbox:
    """Carries notices to a listener: those of one turn of the loop together, in a later turn."""

    __slots__ = ("_home", "_listener", "_lock", "_notices")

    def __init__(self, listener: Listener, lock: threading.Lock) -> None:
        self._home = HomeLoop()
        self._listener = listener
        self._lock = lock
        self._notices: list[Notice] = []

    def post(self, notice: Notice) -> None:
        """Deliver soon. The caller holds the lock."""
        self._notices.append(notice)
        if len(self._notices) == 1:
            self._home.call_soon(self._deliver)

    def close(self) -> None:
        """Drop what is not delivered yet. The caller holds the lock."""
        self._notices.clear()

    def _deliver(self) -> None:
        with self._lock:
            notices, self._notices = self._notices, []
        if notices:
            self._listener.notice(notices)
