"""The transport on Redis."""

import time
from collections.abc import Callable, Sequence

from asyncq.errors import ConfigurationError
from asyncq.limits import LimitOffice
from asyncq.queues import Queue
from asyncq.redis.client import RedisClient
from asyncq.redis.consumer import RedisConsumer
from asyncq.redis.letters import LetterBox
from asyncq.redis.limits import RedisLimits
from asyncq.redis.orders import ORDER_MS
from asyncq.redis.publishing import Publication
from asyncq.redis.server import Command, call
from asyncq.redis.settling import last_words
from asyncq.redis.takeover import joining, members, release
from asyncq.redis.timetable import RedisTimetable
from asyncq.redis.uniques import clear_unique, unique_keys
from asyncq.transport import (
    Capabilities,
    Counts,
    DeadLetter,
    Envelope,
    KeyOwner,
    Member,
    Outcome,
    Receipt,
    Revival,
    Revived,
    Timetable,
    Transport,
)

PUBLISHED_AT_ONCE = 10_000
"""Envelopes in one round trip."""

ANNOUNCE_SECONDS = 1.0
"""How often a queue that is published to is entered among the known ones, in case that the server was emptied."""


class RedisTransport(Transport):
    """Moves messages through a Redis server.

    Args:
        client: its connections.
        namespace: what is published under another one is never seen.
        queues: declared queues; their `max_length` is kept to.
        dead_cap: dead letters that are kept of each queue; the oldest make room.
    """

    capabilities = Capabilities(is_shared=True, has_schedules=True, has_limits=True, has_groups=True)

    def __init__(
        self, client: RedisClient, *, namespace: str, queues: Sequence[Queue] = (), dead_cap: int = 10_000
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._clock = client.clock
        self._space = client.space(namespace)
        self._letters = LetterBox(client, self._space)
        self._max_lengths = {queue.name: queue.max_length for queue in queues}
        self._dead_cap = dead_cap
        self._announced: dict[str, float] = {}

    async def open(self) -> None:
        await self._client.open()
        [is_ledgers] = await self._client.commands.call([("EXISTS", self._space.own["ledger"])], wanted="connect")
        if is_ledgers:
            raise ConfigurationError(
                f"Namespace {self._namespace!r} on Redis at {self._client.server.address} is in use for the calls of a "
                "broker whose messages are elsewhere; give this one another namespace."
            )

    async def close(self) -> None:
        await self._client.close()

    def now_ms(self) -> int:
        return self._clock.now_ms()

    async def publish(self, envelopes: Sequence[Envelope]) -> Sequence[Receipt]:
        receipts: list[Receipt] = []
        for start in range(0, len(envelopes), PUBLISHED_AT_ONCE):
            receipts += await self._publish(envelopes[start : start + PUBLISHED_AT_ONCE])
        return receipts

    async def consumer(self, name: str, queues: Sequence[str], *, lease: float) -> RedisConsumer:
        lease_ms = round(lease * 1000)
        await self._client.commands.call(joining(self._space, name, lease_ms, queues), wanted="join the consumers")
        return RedisConsumer(self._client, self._space, name, lease_ms, self._dead_cap)

    def limits(self) -> LimitOffice:
        return RedisLimits(self._client, self._space)

    async def withdraw(self, id: str, queue: str, outcome: Outcome, *, even_running: bool = False) -> bool:
        order_ms = ORDER_MS if even_running else 0
        command = call("withdraw", self._space.queue(queue), id, *last_words(outcome), order_ms)
        [is_out] = await self._client.commands.call([command], wanted="withdraw a message")
        return bool(is_out)

    async def reschedule(
        self, id: str, queue: str, read: bytes, body: bytes, due_ms: int, *, expires_ms: int = 0
    ) -> bool:
        # Sent twice it would find its own body, and say that nothing was done: the caller looks, and does it again.
        command = call("reschedule", self._space.queue(queue), id, read, body, due_ms, expires_ms)
        [is_moved] = await self._client.commands.call([command], wanted="reschedule a message")
        return bool(is_moved)

    async def unique_keys(self, prefix: str, *, limit: int) -> Sequence[KeyOwner]:
        return await unique_keys(self._client, self._space, prefix, limit)

    async def clear_unique(self, key: str) -> bool:
        return await clear_unique(self._client, self._space, key)

    async def release(self, names: Sequence[str]) -> int:
        counts = await self._client.commands.follow(release(self._space, names), wanted="release")
        return sum(counts.values())

    async def counts(self, queues: Sequence[str]) -> Sequence[Counts]:
        calls = [call("counts", self._space.queue(queue)) for queue in queues]
        return [Counts(*reply) for reply in await self._client.commands.call(calls, wanted="count")]

    async def first_in_line(self, queues: Sequence[str]) -> Sequence[Sequence[bytes]]:
        calls = [call("first_in_line", self._space.queue(queue)) for queue in queues]
        return await self._client.commands.call(calls, wanted="look at the lines")

    async def known_queues(self) -> Sequence[str]:
        return await self._letters.known_queues()

    async def members(self) -> Sequence[Member]:
        return await self._client.commands.follow(members(self._space), wanted="look at the consumers")

    def timetable(self) -> Timetable:
        return RedisTimetable(self._client, self._space, self._max_lengths)

    async def dead_letters(self, queue: str, *, limit: int = 100, before: int | None = None) -> Sequence[DeadLetter]:
        return await self._letters.newest(queue, limit, before)

    async def find_letters(self, queue: str, ids: Sequence[str]) -> Sequence[DeadLetter | None]:
        return await self._letters.find(queue, ids)

    async def drop_letters(self, letters: Sequence[DeadLetter]) -> Sequence[bool]:
        return await self._letters.drop(letters)

    async def revive(self, revivals: Sequence[Revival]) -> Sequence[Revived]:
        return await self._letters.revive(revivals)

    async def _publish(self, envelopes: Sequence[Envelope]) -> list[Receipt]:
        publication = Publication(envelopes, self._space.queue, self._max_lengths)
        news = self._announcements(publication.queues)
        again: Callable[[], Sequence[Command]] = lambda: [*news, *publication.calls_again()]  # noqa: E731
        replies = await self._client.commands.call(
            [*news, *publication.calls()], wanted="publish", again=again, keeps_errors=True
        )
        receipts = publication.receipts(replies[len(news) :], self._client.server)
        if news:
            self._announced.update(dict.fromkeys(publication.queues, time.monotonic()))
        return receipts

    def _announcements(self, queues: set[str]) -> list[Command]:
        stale = time.monotonic() - ANNOUNCE_SECONDS
        if all(self._announced.get(queue, stale) > stale for queue in queues):
            return []
        return [("SADD", self._space.own["queues"], *queues)]
