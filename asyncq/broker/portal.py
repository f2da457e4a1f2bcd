"""The portal: a loop on a thread of its own, for code that has none."""

import asyncio
import atexit
import os
import threading
from collections.abc import Awaitable, Callable
from typing import TypeVar

from asyncq.errors import ConfigurationError

T = TypeVar("T")


class Portal:
    """Runs coroutines for threads without a loop. Its own thread starts with the first call and is a daemon."""

    def __init__(self, at_exit: Callable[[], Awaitable[None]]) -> None:
        self._at_exit = at_exit
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pid = 0

    def owns(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Tell whether this is the portal's own loop, and its thread is there: a forked process has the loop alone."""
        return loop is self._loop and self._pid == os.getpid() and loop.is_running()

    def run(self, call: Callable[[], Awaitable[T]], loop: asyncio.AbstractEventLoop | None) -> T:
        """Run the coroutine on the given loop of another thread, or on the portal's own, and return what it returns."""

        async def called() -> T:
            return await call()

        return asyncio.run_coroutine_threadsafe(called(), loop or self._own_loop()).result()

    def _own_loop(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None or not self.owns(self._loop):
                self._loop = asyncio.new_event_loop()
                self._pid = os.getpid()
                is_running = threading.Event()
                self._loop.call_soon(is_running.set)
                threading.Thread(target=self._loop.run_forever, name="asyncq-portal", daemon=True).start()
                is_running.wait()
                atexit.register(self._finish, self._loop)
            return self._loop

    def _finish(self, loop: asyncio.AbstractEventLoop) -> None:
        if self.owns(loop):
            self.run(self._at_exit, loop)


def running_loop() -> asyncio.AbstractEventLoop | None:
    """Return the loop that runs on this thread, None where none does."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def refuse_on_loop(instead: str) -> None:
    """Raise ConfigurationError on a thread whose loop is running: blocking it would stop everything on it."""
    if running_loop() is not None:
        raise ConfigurationError(f"This thread runs an event loop, which a blocking call would stop. Write {instead}")
