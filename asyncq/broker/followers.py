"""The followers: who wants to see each change of a call, until it has ended."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from math import inf

from asyncq.broker.expiring import Expiring
from asyncq.broker.subscription import SAFETY_SECONDS, Subscription
from asyncq.store import CallKey, Listener, Notice, Sighting
from asyncq.tasks.calls import expiring_message


class Followers:
    """Follows calls on behalf of any number of tasks: each change that is told leads to a look.

    Args:
        subscription: what is looked with, and what tells.
        expiring: ends what expires while it is followed, also when no worker runs.
        now_ms: returns the time by the server's clock.
    """

    def __init__(self, subscription: Subscription, expiring: Expiring, now_ms: Callable[[], int]) -> None:
        self._subscription = subscription
        self._expiring = expiring
        self._now_ms = now_ms
        self._changes: dict[str, set[asyncio.Event]] = {}
        subscription.add(Listener(self._take_notices, self.wake))

    async def follow(self, key: CallKey) -> AsyncIterator[Sighting | None]:
        """Yield what is known of a call now and after each change, until it has ended or nothing is known of it."""
        await self._subscription.listen()
        changed = asyncio.Event()
        self._changes.setdefault(key.id, set()).add(changed)
        last: Sighting | None = None
        tried: Sighting | None = None
        try:
            while True:
                sighting = await self._subscription.watch(key)
                if sighting != last or sighting is None:
                    yield sighting
                if sighting is None or sighting.record is not None:
                    return
                last = sighting
                until_expiry = inf if sighting == tried else self._until_expiry(sighting)
                with suppress(TimeoutError):
                    async with asyncio.timeout(min(SAFETY_SECONDS, until_expiry)):
                        await changed.wait()
                changed.clear()
                if until_expiry < inf and self._until_expiry(sighting) <= 0:
                    tried = sighting
                    await self._expire(CallKey(key.id, sighting.queue))
        finally:
            self._changes[key.id].discard(changed)
            if not self._changes[key.id]:
                del self._changes[key.id]

    def wake(self) -> None:
        """Have all of them look: notices may have been missed, or there will be none any more."""
        for several in self._changes.values():
            for changed in several:
                changed.set()

    def _until_expiry(self, sighting: Sighting) -> float:
        """Return the seconds until the call expires; infinite: it does not."""
        message = expiring_message(sighting)
        return inf if message is None else (message.expires_ms - self._now_ms() + 1) / 1000

    async def _expire(self, key: CallKey) -> None:
        """End a call whose time is over, unless it has changed since it was seen."""
        sighting = await self._subscription.watch(key)
        message = None if sighting is None else expiring_message(sighting)
        if message is not None:
            await self._expiring.expire(key, message)

    def _take_notices(self, notices: Sequence[Notice]) -> None:
        if self._changes:
            for notice in notices:
                for changed in self._changes.get(notice.id, ()):
                    changed.set()
