"""The sessions of a broker: one at a time, and so one event loop at a time."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import TypeVar

from asyncq.broker.portal import Portal, refuse_on_loop, running_loop
from asyncq.broker.session import Session
from asyncq.errors import ConfigurationError, NotSupported

T = TypeVar("T")


class Sessions:
    """Opens a session where it is asked to, unless there is one; a closed loop's and a forked process's are left.

    Args:
        make: returns a session of the running loop, not opened.
        owner: the broker that they are of, for errors to name it.

    Attributes:
        current: the latest, until it was closed here. It need not be open, nor of the running loop.
    """

    def __init__(self, make: Callable[[], Session], owner: object) -> None:
        self.current: Session | None = None
        self._make = make
        self._owner = owner
        self._portal = Portal(self._leave_portal)
        self._refusal = ""

    def here(self) -> Session | None:
        """Return the session that is open on the running loop; None: there is none."""
        session = self.current
        return session if session is not None and session.is_open and session.loop is running_loop() else None

    async def open(self) -> Session:
        """Return the session of the running loop, opened if need be. Raises what `Broker.open` raises."""
        if self._refusal:
            raise NotSupported(self._refusal)
        session = self._living()
        if session is None:
            await self._leave_portal()
            session = self._living()  # somebody else may have been waiting, too, and was faster
        if session is None:
            session = self.current = self._make()
        await session.open()
        return session

    def refuse(self, why: str) -> None:
        """Have `open` raise NotSupported from now on."""
        self._refusal = why

    async def close(self) -> None:
        """Close the session of the running loop, or the portal's. Raises ConfigurationError for another living loop."""
        await self._leave_portal()
        session = self.current
        if session is None or session.pid != os.getpid() or not session.loop.is_running():
            self.current = None
        elif session.loop is asyncio.get_running_loop():
            self.current = None
            await session.close()
        else:
            raise self._elsewhere()

    def run_sync(self, call: Callable[[], Awaitable[T]], instead: str) -> T:
        """Run a coroutine from a thread without a running loop, on the living session's loop or on the portal's."""
        refuse_on_loop(instead)
        session = self.current
        is_alive = session is not None and session.pid == os.getpid() and session.loop.is_running()
        return self._portal.run(call, session.loop if session is not None and is_alive else None)

    def _living(self) -> Session | None:
        """Return the session of this loop and process, None where one is to be opened."""
        session = self.current
        if session is None or session.pid != os.getpid() or session.loop.is_closed():
            return None
        if session.loop is not asyncio.get_running_loop():
            if self._portal.owns(session.loop):
                return None
            raise self._elsewhere()
        return session if session.is_usable else None

    async def _leave_portal(self) -> None:
        """Close the session that a call without a loop opened: from now on such calls run where the next one is."""
        session = self.current
        if session is None or session.pid != os.getpid() or not self._portal.owns(session.loop):
            return
        try:
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(session.close(), session.loop))
        finally:
            if self.current is session:
                self.current = None

    def _elsewhere(self) -> ConfigurationError:
        return ConfigurationError(
            f"{self._owner!r} is open on another event loop that is still alive. A broker lives on one loop at a time: "
            "close it there first, or give each loop a broker of its own."
        )
