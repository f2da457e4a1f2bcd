"""The portal: a loop on a thread of its own, for code that has none."""

import asyncio
import atexit
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

    def owns(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Tell whether this is the portal's own loop."""
        return loop is self._loop

    def run(self, call: Callable[[], Awaitable[T]], loop: asyncio.AbstractEventLoop | None) -> T:
        """Run the coroutine on the given loop of another thread, or on the portal's own, and return what it returns."""

        async def called() -> T:
            return await call()

        return asyncio.run_coroutine_threadsafe(called(), loop or self._own_loop()).result()

    def _own_loop(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None or self._loop.is_closed() or not self._loop.is_running():
                self._loop = asyncio.new_event_loop()
                is_running = threading.Event()
                self._loop.call_soon(is_running.set)
                threading.Thread(target=self._loop.run_forever, name="asyncq-portal", daemon=True).start()
                is_running.wait()
                atexit.register(self._finish, self._loop)
            return self._loop

    def _finish(self, loop: asyncio.AbstractEventLoop) -> None:
        # After a fork the loop is there but its thread is not: nothing to finish, and nobody to wait for.
        if loop.is_running() and any(each.name == "asyncq-portal" for each in threading.enumerate()):
            self.run(self._at_exit, loop)


def refuse_on_loop(instead: str) -> None:
    """Raise ConfigurationError on a thread whose loop is running: blocking it would stop everything on it."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise ConfigurationError(f"This thread runs an event loop, which a blocking call would stop. Write {instead}")
