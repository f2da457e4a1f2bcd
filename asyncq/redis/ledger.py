"""The ledger on Redis, on the data of the transport and the store."""

from collections.abc import Sequence
from itertools import chain
from typing import Any

from asyncq.errors import ConfigurationError
from asyncq.ledger import WITHDRAWN_MS, Claimed, ClaimReceipt, Copy, Ledger, Replaced
from asyncq.limits import LimitOffice
from asyncq.redis.client import RedisClient
from asyncq.redis.faults import is_full
from asyncq.redis.holder import RedisHolder
from asyncq.redis.limits import RedisLimits
from asyncq.redis.orders import ORDER_MS
from asyncq.redis.parts import MAX_ITEMS, Part, parts_of
from asyncq.redis.publishing import how_given_back, replacing, term_text
from asyncq.redis.server import Argument, Call, call
from asyncq.redis.settling import last_words
from asyncq.redis.takeover import LEDGER_RECLAIM, joining, members, release
from asyncq.redis.taking import terms_in
from asyncq.redis.timetable import RedisTimetable
from asyncq.redis.uniques import clear_unique, unique_keys
from asyncq.terms import encode_terms
from asyncq.transport import Counts, Envelope, KeyOwner, Member, Outcome, Owned, Revival, Taken, Timetable


class RedisLedger(Ledger):
    """Remembers the calls of a transport on a Redis server.

    Args:
        client: its connections.
        namespace: what is noted under another one is never seen.
    """

    def __init__(self, client: RedisClient, *, namespace: str) -> None:
        self._client = client
        self._namespace = namespace
        self._space = client.space(namespace)

    async def open(self) -> None:
        await self._client.open()
        [is_ours] = await self._client.commands.call([call("ledger_found", self._space.own, 0)], wanted="connect")
        if not is_ours:
            raise ConfigurationError(
                f"Namespace {self._namespace!r} on Redis at {self._client.server.address} holds messages or workers of "
                "a broker of its own; give the broker that only remembers its calls there another namespace."
            )

    async def close(self) -> None:
        await self._client.close()

    def now_ms(self) -> int:
        return self._client.clock.now_ms()

    async def note(self, envelopes: Sequence[Envelope]) -> None:
        parts = parts_of(envelopes, _measure)
        await self._client.commands.call(list(map(self._noting, parts)), wanted="note messages")

    async def claim(self, envelopes: Sequence[Envelope], *, ttl_ms: int) -> Sequence[ClaimReceipt]:
        receipts: list[ClaimReceipt] = [0] * len(envelopes)
        parts = parts_of(envelopes, _measure)
        calls = [self._claiming(part, ttl_ms) for part in parts]
        server = self._client.server
        replies = await self._client.commands.call(calls, wanted="claim ids", keeps_errors=True)
        for part, reply in zip(parts, replies, strict=True):
            if is_full(reply):
                for index in part.indexes:
                    receipts[index] = server.overfull(reply)
                continue
            server.check([reply], "claim ids")
            for index, answer in zip(part.indexes, reply, strict=True):
                receipts[index] = answer if isinstance(answer, int) else _taken(envelopes[index], *answer)
        return receipts

    async def strike(self, envelopes: Sequence[Envelope]) -> None:
        calls = [self._striking(part) for part in parts_of(envelopes, _measure)]
        await self._client.commands.call(calls, wanted="take back claims")

    async def holder(self, name: str, queues: Sequence[str], *, lease: float) -> RedisHolder:
        lease_ms = round(lease * 1000)
        commands = [call("ledger_found", self._space.own, 1), *joining(self._space, name, lease_ms, queues)]
        await self._client.commands.call(commands, wanted="join the consumers")
        return RedisHolder(self._client, self._space, name, queues, lease_ms)

    async def withdraw(self, id: str, queue: str, outcome: Outcome, *, even_running: bool = False) -> bool:
        order_ms = ORDER_MS if even_running else 0
        words = last_words(outcome)
        command = call("ledger_withdraw", self._space.queue(queue), id, *words, order_ms, WITHDRAWN_MS)
        [is_out] = await self._client.commands.call([command], wanted="withdraw a message")
        return bool(is_out)

    async def reschedule(
        self, id: str, queue: str, read: bytes, body: bytes, due_ms: int, *, priority: int, expires_ms: int = 0
    ) -> Copy | None:
        arguments = (id, read, body, max(due_ms, 0), priority, expires_ms)
        command = call("ledger_reschedule", self._space.queue(queue), *arguments)
        [reply] = await self._client.commands.call([command], wanted="reschedule a message")
        if reply is None:
            return None
        generation, when_ms, terms = reply
        return Copy(id, queue, body, priority, generation, int(when_ms), terms_in(terms))

    async def unique_keys(self, prefix: str, *, limit: int) -> Sequence[KeyOwner]:
        return await unique_keys(self._client, self._space, prefix, limit)

    async def clear_unique(self, key: str) -> bool:
        return await clear_unique(self._client, self._space, key)

    async def release(self, names: Sequence[str]) -> int:
        plan = release(self._space, names, reclaim=LEDGER_RECLAIM)
        return sum((await self._client.commands.follow(plan, wanted="release")).values())

    async def orphans(self, limit: int) -> Sequence[Copy]:
        orphans: list[Copy] = []
        while len(orphans) < limit:
            wanted = min(limit - len(orphans), MAX_ITEMS)
            command = call("ledger_orphans", self._space.own, wanted, len(orphans))
            [reply] = await self._client.commands.call([command], wanted="look for orphans")
            if not reply:
                break
            orphans += [
                Copy(
                    member[1:].decode(),
                    queue.decode(),
                    body,
                    member[0] - 48,
                    int(generation),
                    int(due_ms),
                    terms_in(terms),
                )
                for queue, member, body, generation, due_ms, terms in zip(*(reply[n::6] for n in range(6)), strict=True)
            ]
        return orphans

    async def placed(self, copies: Sequence[Copy]) -> None:
        words = [(copy.queue, copy.id, copy.generation) for copy in copies]
        calls = [
            call("ledger_placed", self._space.own, *chain.from_iterable(words[start : start + MAX_ITEMS]))
            for start in range(0, len(words), MAX_ITEMS)
        ]
        await self._client.commands.call(calls, wanted="forget orphans")

    async def reopen(self, revivals: Sequence[Revival]) -> Sequence[int | None]:
        generations: list[int | None] = [None] * len(revivals)
        parts = parts_of(revivals, lambda revival: (revival.letter.queue, len(revival.body)))
        replies = await self._client.commands.call(list(map(self._reopening, parts)), wanted="put back dead letters")
        for part, reply in zip(parts, replies, strict=True):
            for index, generation in zip(part.indexes, reply, strict=True):
                generations[index] = generation
        return generations

    async def running(self, queues: Sequence[str]) -> Sequence[int]:
        return [counts.running for counts in await self._counts(queues)]

    async def scheduled(self, queues: Sequence[str]) -> Sequence[int]:
        return [counts.scheduled for counts in await self._counts(queues)]

    async def parked(self, queues: Sequence[str]) -> Sequence[int]:
        return [counts.waiting for counts in await self._counts(queues)]

    def limits(self) -> LimitOffice:
        return RedisLimits(self._client, self._space)

    async def known_queues(self) -> Sequence[str]:
        command = ("SMEMBERS", self._space.own["queues"])
        [names] = await self._client.commands.call([command], wanted="look at the queues")
        return sorted(name.decode() for name in names)

    def timetable(self) -> Timetable:
        return RedisTimetable(self._client, self._space)

    async def members(self) -> Sequence[Member]:
        return await self._client.commands.follow(members(self._space), wanted="look at the consumers")

    def _noting(self, part: Part[Envelope]) -> Call:
        arguments: list[Argument] = []
        for id, _, body, _, due_ms, is_fresh, term, terms in part.items:
            extra = ""
            if due_ms > 0 or not is_fresh or term is not None or terms is not None:
                extra = f"{'f' if is_fresh and term is None else 'k'}{max(due_ms, 0)}"
            needs = encode_terms(terms).encode() if terms is not None else b""
            if needs:
                extra += f"t{len(needs)}"
            if needs or term is not None:
                extra += f" {needs.decode()}{term_text(term) if term is not None else ''}"
            arguments += (id, body, extra)
        return call("ledger_note", self._space.queue(part.queue), *arguments)

    def _claiming(self, part: Part[Envelope], ttl_ms: int) -> Call:
        arguments: list[Argument] = []
        for id, _, body, priority, due_ms, _, term, terms in part.items:
            if term is None:
                arguments += (id, body, "", "", "")
            else:
                becoming = replacing(term)
                needs = f" {encode_terms(terms)}" if terms is not None else ""
                after = f"{becoming} {max(due_ms, 0)} {priority}{needs}" if becoming else ""
                arguments += (id, body, term.key, how_given_back(term), after)
        return call("ledger_claim", self._space.queue(part.queue), part.queue, ttl_ms, *arguments)

    def _striking(self, part: Part[Envelope]) -> Call:
        words = [word for envelope in part.items for word in (envelope.id, envelope.body)]
        return call("ledger_strike", self._space.queue(part.queue), part.queue, *words)

    def _reopening(self, part: Part[Revival]) -> Call:
        arguments: list[Argument] = []
        for letter, body, priority, term, _ in part.items:
            arguments += (letter.id, letter.record or b"", body, term_text(term) if term is not None else "", priority)
        return call("ledger_reopen", self._space.queue(part.queue), *arguments)

    async def _counts(self, queues: Sequence[str]) -> list[Counts]:
        """Return of each queue how many calls stand where; what the transport has is not among them."""
        calls = [call("counts", self._space.queue(queue)) for queue in queues]
        return [Counts(*reply) for reply in await self._client.commands.call(calls, wanted="count")]


def _measure(envelope: Envelope) -> tuple[str, int]:
    return envelope.queue, len(envelope.body)


def _taken(envelope: Envelope, what: bytes, *values: Any) -> Taken | Owned | Claimed | Replaced:
    """Return what has an id or a unique key, as scripts/ledger_claim.lua says it."""
    match what, values:
        case b"claim", (body, generation):
            return Claimed(generation, body)
        case b"claim", (body, generation, queue, id):
            return Claimed(generation, body, Owned(id.decode(), queue.decode()))
        case b"owner", (queue, id):
            return Owned(id.decode(), queue.decode())
        case b"replaced", (queue, id, body, generation, due_ms):
            owner = Owned(id.decode(), queue.decode())
            copy = Copy(*owner, body, envelope.priority, generation, int(due_ms), envelope.terms)
            return Replaced(owner, copy)
        case b"record", (record,):
            return Taken(None, record)
        case _:
            return Taken(values[0], None)
