"""The store: finds what the transport's settlements write, and is told when they do."""

import secrets
from collections import defaultdict
from collections.abc import Iterable, Sequence

from asyncq.redis.client import RedisClient
from asyncq.redis.keys import KeySpace
from asyncq.redis.notices import Subscription, unpack_notices
from asyncq.redis.server import Call, Reply, call
from asyncq.store import Address, CallKey, Listener, Place, Sighting, Store

WATCH_MS = 600_000
"""How long watchers of a queue are remembered after anybody has looked."""

SILENCE_SECONDS = 12.0
"""Of a subscription, until it asks whether the server is there."""

LOOKS_AT_ONCE = 200
"""Ids in one script call: it holds up everybody else while it runs."""

_READS_AT_ONCE = 20
"""Script calls in one round trip."""


class RedisStore(Store):
    """Remembers calls on the server of a Redis transport.

    Args:
        client: the transport's.
        namespace: the transport's.
    """

    def __init__(self, client: RedisClient, *, namespace: str) -> None:
        self._client = client
        self._space = KeySpace(namespace)
        address = self._space.own["reply"] + secrets.token_urlsafe(8)
        self._subscription = Subscription(client.server, address, silence=SILENCE_SECONDS)
        self._listener: Listener | None = None

    async def open(self) -> None:
        await self._client.open()

    async def close(self) -> None:
        await self._subscription.close()
        await self._client.close()

    async def look(self, keys: Sequence[CallKey], *, watcher: Address = "") -> Sequence[Sighting | None]:
        sightings: list[Sighting | None] = [None] * len(keys)
        hinted: dict[str, list[int]] = defaultdict(list)
        for index, key in enumerate(keys):
            if key.queue is not None:
                hinted[key.queue].append(index)
        await self._look_in(hinted, keys, watcher, sightings)
        missing = [index for index, sighting in enumerate(sightings) if sighting is None]
        if missing:
            elsewhere = {
                queue: [index for index in missing if keys[index].queue != queue]
                for queue in await self._known_queues()
            }
            await self._look_in(elsewhere, keys, watcher, sightings)
        return sightings

    async def unwatch(self, keys: Sequence[CallKey], watcher: Address) -> None:
        # Wherever they were found: a queue that is named here is as much a guess as when they were looked for.
        ids = [key.id for key in keys]
        calls = [
            call("unwatch", self._space.queue(queue), watcher, *ids[start : start + LOOKS_AT_ONCE])
            for queue in await self._known_queues()
            for start in range(0, len(ids), LOOKS_AT_ONCE)
        ]
        await self._in_turns(calls, "unwatch")

    async def listen(self, listener: Listener) -> Address:
        self._listener = listener
        await self._subscription.open()
        return self._subscription.address

    async def run(self) -> None:
        """Bring notices until cancelled."""
        listener = self._listener
        if listener is None:
            raise RuntimeError("RedisStore.run() was called before listen().")

        async def catch_up() -> None:
            listener.resync()

        await self._subscription.run(lambda data: listener.notice(unpack_notices(data)), catch_up)

    async def report(self, key: CallKey, progress: bytes, *, reply: Address = "", ttl_ms: int) -> None:
        if key.queue is not None and await self._report_to([key.queue], key.id, progress, reply, ttl_ms):
            return
        others = [queue for queue in await self._known_queues() if queue != key.queue]
        await self._report_to(others, key.id, progress, reply, ttl_ms)

    async def _look_in(
        self,
        indexes: "dict[str, list[int]]",
        keys: Sequence[CallKey],
        watcher: Address,
        sightings: list[Sighting | None],
    ) -> None:
        """Look for some of the keys in each queue, and fill in what is found."""
        parts = [
            (queue, some[start : start + LOOKS_AT_ONCE])
            for queue, some in indexes.items()
            for start in range(0, len(some), LOOKS_AT_ONCE)
        ]
        calls = [
            call("look", self._space.queue(queue), watcher, WATCH_MS, *[keys[index].id for index in part])
            for queue, part in parts
        ]
        for (queue, part), found in zip(parts, await self._in_turns(calls, "look"), strict=True):
            for index, seen in zip(part, found, strict=True):
                if seen is not None:
                    sightings[index] = _sighting(queue, seen)

    async def _in_turns(self, calls: Sequence[Call], wanted: str) -> list[Reply]:
        """Make script calls, not too many at once, so that what others want comes between."""
        replies: list[Reply] = []
        for start in range(0, len(calls), _READS_AT_ONCE):
            replies += await self._client.commands.call(calls[start : start + _READS_AT_ONCE], wanted=wanted)
        return replies

    async def _known_queues(self) -> list[str]:
        [names] = await self._client.commands.call([("SMEMBERS", self._space.own["queues"])], wanted="look")
        return [name.decode() for name in names]

    async def _report_to(self, queues: Iterable[str], id: str, progress: bytes, reply: Address, ttl_ms: int) -> bool:
        calls = [call("report", self._space.queue(queue), id, progress, reply, ttl_ms) for queue in queues]
        return any(await self._in_turns(calls, "report progress"))


def _sighting(queue: str, seen: Reply) -> Sighting:
    if isinstance(seen, bytes):
        return Sighting(queue, record=seen)
    body, place, progress, was_started = seen
    return Sighting(queue, None, body, Place(place.decode()), progress, bool(was_started))
