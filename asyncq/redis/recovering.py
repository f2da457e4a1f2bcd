"""The recovering: calls whose messages a consumer has let go of, and that a server takes for waiting."""

import asyncio
import time
from collections import deque
from collections.abc import Iterable
from contextlib import suppress

from asyncq.errors import BrokerUnavailable
from asyncq.redis.client import RedisClient
from asyncq.redis.keys import KeySpace
from asyncq.redis.parts import MAX_ITEMS
from asyncq.redis.server import call

LATELY = 60.0
"""Seconds for which it is remembered: a server that loses more than its last moments is not meant."""

MOST = 10_000
"""Calls that are remembered at most."""

PAUSES = (0.0, 5.0, 25.0)
"""Seconds before each look: whoever has published a call may make it known once more, after the server is back."""


class Recovering:
    """Finds, after each fault, what has ended here and waits there: nobody would ever bring its message.

    In a failover the server may lose that a call was lent and has ended, but not that it was noted before. Then it
    becomes an orphan, and is published again.

    Args:
        client: its connections.
        space: where it consumes.
    """

    def __init__(self, client: RedisClient, space: KeySpace) -> None:
        self._client = client
        self._space = space
        self._parted: deque[tuple[float, str, str]] = deque(maxlen=MOST)
        self._is_in_doubt = asyncio.Event()

    def part(self, calls: Iterable[tuple[str, str]]) -> None:
        """Take note of calls that have ended, or are not wanted: of each its queue, and its priority with its id."""
        now = time.monotonic()
        self._parted.extend((now, queue, member) for queue, member in calls)

    def doubt(self) -> None:
        """Look: the server may be another one, or may have been set back."""
        self._is_in_doubt.set()

    async def run(self) -> None:
        """Look whenever there is a doubt, until cancelled."""
        while True:
            await self._is_in_doubt.wait()
            self._is_in_doubt.clear()
            parted = self._lately()
            for pause in PAUSES if parted else ():
                await asyncio.sleep(pause)
                with suppress(BrokerUnavailable):  # then there is another doubt, once it is back
                    await self._look(parted)

    def _lately(self) -> dict[str, list[str]]:
        since = time.monotonic() - LATELY
        found: dict[str, list[str]] = {}
        for at, queue, member in self._parted:
            if at >= since:
                found.setdefault(queue, []).append(member)
        return found

    async def _look(self, parted: dict[str, list[str]]) -> None:
        calls = [
            call("ledger_recover", self._space.queue(queue), *members[start : start + MAX_ITEMS])
            for queue, members in parted.items()
            for start in range(0, len(members), MAX_ITEMS)
        ]
        await self._client.commands.call(calls, wanted="look for what was forgotten")
