"""Settlements on their way to the server, in few script calls with few arguments for each."""

from collections.abc import Callable, Sequence
from typing import TypeAlias

from asyncq.ledger import TOMBSTONE_MS
from asyncq.redis.keys import Keys
from asyncq.redis.parts import MAX_BYTES, MAX_ITEMS
from asyncq.redis.publishing import due_with_terms
from asyncq.redis.server import Argument, Call, Reply, call
from asyncq.terms import encode_terms
from asyncq.transport import Again, Dead, Delivery, Done, Envelope, Outcome, Return, Settlement

Entry: TypeAlias = tuple[str, str, str, str, bytes]
"""Member, token, what becomes of it, the address to reply to, payload; scripts/settle.lua says what they mean."""

_HAVE_THEN = (Done, Dead)


class _Part:
    """What goes in one call."""

    __slots__ = ("entries", "follow_ups", "indexes", "queue", "size")

    def __init__(self, queue: str) -> None:
        self.queue = queue
        self.entries: list[Argument] = []
        self.follow_ups: list[Argument] = []
        self.indexes: list[int] = []
        self.size = 0

    def follow(self, envelopes: Sequence[Envelope]) -> None:
        """Let envelopes follow what was added last; scripts/following.lua says how they are written."""
        number = len(self.indexes) - 1
        for id, queue, body, priority, due_ms, is_fresh, _, terms in envelopes:
            extra = f"{'f' if is_fresh else 'k'}{due_with_terms(due_ms, terms)}"
            self.follow_ups += (number, queue, f"{priority}{id}", extra, body)
            self.size += len(body)


class SettlementBatch:
    """Settlements, and whether each took effect.

    Args:
        settlements: to send.
        name: of the consumer; other consumers' deliveries are not its own to settle.
        dead_cap: dead letters that are kept of each queue; None: they are for a ledger, whose transport has the
            letters, and publishes what follows.
    """

    def __init__(self, settlements: Sequence[Settlement], name: str, dead_cap: int | None) -> None:
        self._dead_cap = dead_cap
        self._effects = [True] * len(settlements)
        self._parts = self._divide(settlements, f"{name}/")

    def calls(self, keys_of: Callable[[str], Keys]) -> list[Call]:
        """Return the script calls."""
        script, number = ("ledger_settle", TOMBSTONE_MS) if self._dead_cap is None else ("settle", self._dead_cap)
        return [
            call(script, keys_of(part.queue), number, len(part.indexes), *part.entries, *part.follow_ups)
            for part in self._parts
        ]

    def effects(self, replies: Sequence[Reply]) -> list[bool]:
        """Return for each settlement whether it took effect."""
        for part, outdated in zip(self._parts, replies, strict=True):
            for number in outdated or ():
                self._effects[part.indexes[number]] = False
        return self._effects

    def _divide(self, settlements: Sequence[Settlement], prefix: str) -> list[_Part]:
        parts: list[_Part] = []
        open_parts: dict[str, _Part] = {}
        is_ledgers = self._dead_cap is None
        entry_of = _lending if is_ledgers else _entry
        for index, settlement in enumerate(settlements):
            delivery = settlement.delivery
            if not delivery.token.startswith(prefix):
                self._effects[index] = False
                continue
            part = open_parts.get(delivery.queue)
            if part is None or len(part.indexes) >= MAX_ITEMS or part.size >= MAX_BYTES:
                part = open_parts[delivery.queue] = _Part(delivery.queue)
                parts.append(part)
            entry = entry_of(settlement, delivery)
            part.indexes.append(index)
            part.entries += entry
            part.size += len(entry[4])
            if isinstance(settlement, _HAVE_THEN) and settlement.then and not is_ledgers:
                part.follow(settlement.then)
        return parts


def last_words(outcome: Outcome) -> tuple[int, bytes, int, str]:
    """Return an outcome as the scripts that withdraw are given it."""
    has_record, record = (0, b"") if outcome.record is None else (1, outcome.record)
    return has_record, record, outcome.ttl_ms, outcome.reply


def _entry(settlement: Settlement, delivery: Delivery) -> Entry:
    member = f"{delivery.priority}{delivery.id}"
    # By type and not by `match`: this runs for every task, and class patterns on tuples cost four times as much.
    if isinstance(settlement, Done):
        record, ttl_ms, reply = settlement.outcome
        if record is None:
            return member, delivery.token, "n", reply, b""
        return member, delivery.token, f"d{ttl_ms}", reply, record
    if isinstance(settlement, Again):
        return member, delivery.token, f"a{settlement.due_ms}", "", settlement.body
    if isinstance(settlement, Return):
        return member, delivery.token, "c" if settlement.is_crash else "r", "", _terms_of(settlement)
    return member, delivery.token, *_letter(settlement, settlement.outcome)


def _terms_of(settlement: Return) -> bytes:
    return b"" if settlement.terms is None else encode_terms(settlement.terms).encode()


def _letter(settlement: Dead, outcome: Outcome) -> tuple[str, str, bytes]:
    reason = settlement.reason.encode("utf-8", "replace")
    letter = b"%d %d %b%b" % (settlement.letter_ttl_ms, len(reason), reason, settlement.letter_record or b"")
    return ("y" if outcome.record is None else f"x{outcome.ttl_ms}"), outcome.reply, letter


def _lending(settlement: Settlement, delivery: Delivery) -> Entry:
    """Return the entry for a ledger, where all are of priority 0 and a death is an end."""
    if isinstance(settlement, Dead):
        settlement = Done(delivery, settlement.outcome)
    return _entry(settlement, delivery._replace(priority=0) if delivery.priority else delivery)
