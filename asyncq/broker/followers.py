"""The followers: who wants to see each change of a call, until it has ended."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress

from asyncq.broker.subscription import SAFETY_SECONDS, Subscription
from asyncq.store import CallKey, Listener, Notice, Sighting


class Followers:
    """Follows calls on behalf of any number of tasks: each change that is told leads to a look."""

    def __init__(self, subscription: Subscription) -> None:
        self._subscription = subscription
        self._changes: dict[str, set[asyncio.Event]] = {}
        subscription.add(Listener(self._take_notices, self.wake))

    async def follow(self, key: CallKey) -> AsyncIterator[Sighting | None]:
        """Yield what is known of a call now and after each change, until it has ended or nothing is known of it."""
        await self._subscription.listen()
        changed = asyncio.Event()
        self._changes.setdefault(key.id, set()).add(changed)
        last: Sighting | None = None
        try:
            while True:
                sighting = await self._subscription.watch(key)
                if sighting != last or sighting is None:
                    yield sighting
                if sighting is None or sighting.record is not None:
                    return
                last = sighting
                with suppress(TimeoutError):
                    async with asyncio.timeout(SAFETY_SECONDS):
                        await changed.wait()
                changed.clear()
        finally:
            self._changes[key.id].discard(changed)
            if not self._changes[key.id]:
                del self._changes[key.id]

    def wake(self) -> None:
        """Have all of them look: notices may have been missed, or there will be none any more."""
        for several in self._changes.values():
            for changed in several:
                changed.set()

    def _take_notices(self, notices: Sequence[Notice]) -> None:
        if self._changes:
            for notice in notices:
                for changed in self._changes.get(notice.id, ()):
                    changed.set()
