"""The timetable on Redis."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from asyncq.errors import PublishRefused
from asyncq.redis.client import RedisClient
from asyncq.redis.faults import is_full
from asyncq.redis.keys import KeySpace
from asyncq.redis.notices import Subscription
from asyncq.redis.publishing import due_with_terms
from asyncq.redis.server import Argument, Call, Reply, call
from asyncq.transport import Answer, Change, Changed, Entry, Timetable

SILENCE_SECONDS: Final = 4.0
"""Of a subscription, until it asks whether the server is there."""

READ_AT_ONCE: Final = 500
"""Schedules that are read in one command: it holds up everybody else while it runs."""

_NO_LENGTHS: Final[Mapping[str, int | None]] = {}


class RedisTimetable(Timetable):
    """Remembers schedules on a Redis server.

    Args:
        client: its connections.
        space: keys of the namespace.
        max_lengths: how many may wait in a queue, where that is bounded.
    """

    def __init__(
        self, client: RedisClient, space: KeySpace, max_lengths: Mapping[str, int | None] = _NO_LENGTHS
    ) -> None:
        self._client = client
        self._keys = space.own
        self._max_lengths = max_lengths

    def now_ms(self) -> int:
        return self._client.clock.now_ms()

    async def first(self, limit: int) -> Sequence[Entry]:
        command = call("first_ticks", self._keys, limit)
        [found] = await self._client.commands.call([command], wanted="look at schedules")
        return [
            Entry(name.decode(), record, int(float(next_ms)))
            for name, record, next_ms in zip(found[::3], found[1::3], found[2::3], strict=True)
        ]

    async def find(self, names: Sequence[str]) -> Sequence[Entry | None]:
        found: list[Entry | None] = []
        for start in range(0, len(names), READ_AT_ONCE):
            some = names[start : start + READ_AT_ONCE]
            questions = [
                ("HMGET", self._keys["schedules"], *some),
                *(("ZSCORE", self._keys["ticks"], name) for name in some),
            ]
            [records, *times] = await self._client.commands.call(questions, wanted="look for schedules")
            found += [
                None if record is None else Entry(name, record, None if next_ms is None else int(float(next_ms)))
                for name, record, next_ms in zip(some, records, times, strict=True)
            ]
        return found

    async def entries(self) -> Sequence[Entry]:
        names: set[str] = set()
        cursor = "0"
        while True:
            question = ("HSCAN", self._keys["schedules"], cursor, "COUNT", READ_AT_ONCE)
            [[following, pairs]] = await self._client.commands.call([question], wanted="list schedules")
            names.update(name.decode() for name in pairs[::2])
            cursor = following.decode()
            if cursor == "0":
                return [entry for entry in await self.find(sorted(names)) if entry is not None]

    async def change(self, changes: Sequence[Change]) -> Sequence[Answer]:
        if not changes:
            return []
        calls = [self._call(change) for change in changes]
        replies = await self._client.commands.call(calls, wanted="change schedules", keeps_errors=True)
        return [self._answer(change, reply) for change, reply in zip(changes, replies, strict=True)]

    async def declare(self, names: Sequence[str], *, until_ms: int, lapsed_ms: int | None) -> Sequence[str]:
        command = call("declare", self._keys, until_ms, "" if lapsed_ms is None else lapsed_ms, *names)
        [missing] = await self._client.commands.call([command], wanted="declare schedules")
        return [name.decode() for name in missing]

    async def watch(self, changed: Callable[[], None]) -> None:
        subscription = Subscription(self._client.server, self._keys["ticked"], silence=SILENCE_SECONDS)

        async def catch_up() -> None:
            changed()

        try:
            await subscription.open()
            changed()
            await subscription.run(lambda _: changed(), catch_up)
        finally:
            await subscription.close()

    def _call(self, change: Change) -> Call:
        seen, becomes = (b"-" if record is None else b"+" + record for record in (change.seen, change.record))
        arguments: list[Argument] = [change.name, seen, becomes, "" if change.next_ms is None else change.next_ms]
        if change.envelopes:
            queue = change.envelopes[0].queue
            arguments += (queue, self._max_lengths.get(queue) or 0)
            for id, _, body, priority, due_ms, _, _, terms in change.envelopes:
                arguments += (f"{priority}{id}", body, due_with_terms(due_ms, terms))
        return call("tick", self._keys, *arguments)

    def _answer(self, change: Change, reply: Reply) -> Answer:
        if is_full(reply):
            return self._client.server.overfull(reply)
        self._client.server.check([reply], "change a schedule")
        if isinstance(reply, int):
            queue = change.envelopes[0].queue
            longest = self._max_lengths[queue]
            return PublishRefused(f"Queue {queue!r} is full: {reply} messages wait, {longest} may (max_length).")
        return Changed(reply.decode())
