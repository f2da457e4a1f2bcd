"""The publication: envelopes on their way to the server, in few script calls."""

from collections.abc import Callable, Mapping, Sequence
from typing import cast

from asyncq.errors import PublishRefused
from asyncq.redis.faults import is_full
from asyncq.redis.keys import Keys
from asyncq.redis.parts import MAX_BYTES, MAX_ITEMS
from asyncq.redis.server import Argument, Call, Reply, Server, call
from asyncq.terms import Terms, encode_terms
from asyncq.transport import Envelope, Owned, Receipt, Taken, UniqueTerm


class _Part:
    """What goes in one call.

    Attributes:
        is_plain: nothing in it has a priority, a due time, a known id or a bound to heed.
        is_unique: all in it have unique keys; else none has.
    """

    __slots__ = ("indexes", "is_plain", "is_unique", "queue", "size")

    def __init__(self, queue: str, max_length: int | None, *, is_unique: bool) -> None:
        self.queue = queue
        self.is_unique = is_unique
        self.indexes: list[int] = []
        self.is_plain = max_length is None
        self.size = 0


class Publication:
    """Envelopes, and what becomes of each.

    Args:
        envelopes: to publish.
        keys_of: returns the keys of a queue.
        max_lengths: how many may wait, of queues that say so.
    """

    def __init__(
        self,
        envelopes: Sequence[Envelope],
        keys_of: Callable[[str], Keys],
        max_lengths: Mapping[str, int | None],
    ) -> None:
        self._envelopes = envelopes
        self._keys_of = keys_of
        self._max_lengths = max_lengths
        self._parts = self._divide()
        self._is_repeat = False

    @property
    def queues(self) -> set[str]:
        """The queues that are published to."""
        return {part.queue for part in self._parts}

    def calls(self) -> list[Call]:
        """Return the script calls."""
        return [self._call(part) for part in self._parts]

    def calls_again(self) -> list[Call]:
        """Return the calls to make when the first ones may have taken effect: no id is fresh any more."""
        self._is_repeat = True
        return self.calls()

    def receipts(self, replies: Sequence[Reply], server: Server) -> list[Receipt]:
        """Return a receipt for each envelope. Raises BrokerUnavailable for a reply that makes no sense."""
        receipts: list[Receipt] = [None] * len(self._envelopes)
        for part, reply in zip(self._parts, replies, strict=True):
            if is_full(reply):
                for index in part.indexes:
                    receipts[index] = server.overfull(reply)
                continue
            server.check([reply], "publish")
            if reply is None:
                continue
            for number, why, what in zip(reply[::3], reply[1::3], reply[2::3], strict=True):
                index = part.indexes[cast(int, number)]
                receipts[index] = self._receipt(self._envelopes[index], why, what)
        return receipts

    def _divide(self) -> list[_Part]:
        parts: list[_Part] = []
        open_parts: dict[str, _Part] = {}
        for index, envelope in enumerate(self._envelopes):
            part, is_unique = open_parts.get(envelope.queue), envelope.unique is not None
            is_full = part is None or len(part.indexes) >= MAX_ITEMS or part.size >= MAX_BYTES
            if part is None or is_full or part.is_unique is not is_unique:
                part = _Part(envelope.queue, self._max_lengths.get(envelope.queue), is_unique=is_unique)
                open_parts[envelope.queue] = part
                parts.append(part)
            part.indexes.append(index)
            part.size += len(envelope.body)
            if not envelope.is_fresh or envelope.priority or envelope.due_ms or envelope.terms is not None:
                part.is_plain = False
        return parts

    def _call(self, part: _Part) -> Call:
        if part.is_plain and not part.is_unique and not self._is_repeat:
            return call("publish_fresh", self._keys_of(part.queue), *self._plain_arguments(part))
        if part.is_unique:
            return self._unique_call(part)
        arguments: list[Argument] = [self._max_lengths.get(part.queue) or 0]
        for index in part.indexes:
            id, _, body, priority, due_ms, is_fresh, _, terms = self._envelopes[index]
            is_plain = is_fresh and due_ms <= 0 and terms is None and not self._is_repeat
            known = "f" if is_fresh and not self._is_repeat else "k"
            extra = "" if is_plain else f"{known}{due_with_terms(due_ms, terms)}"
            arguments += (f"{priority}{id}", body, extra)
        return call("publish", self._keys_of(part.queue), *arguments)

    def _unique_call(self, part: _Part) -> Call:
        arguments: list[Argument] = [self._max_lengths.get(part.queue) or 0]
        for index in part.indexes:
            id, _, body, priority, due_ms, is_fresh, term, terms = self._envelopes[index]
            if term is not None:
                extra = f"{'f' if is_fresh and not self._is_repeat else 'k'}{due_with_terms(due_ms, terms)}"
                arguments += (f"{priority}{id}", body, extra, term.key, how_given_back(term), replacing(term))
        return call("publish_unique", self._keys_of(part.queue), *arguments)

    def _plain_arguments(self, part: _Part) -> list[Argument]:
        arguments: list[Argument] = []
        for index in part.indexes:
            envelope = self._envelopes[index]
            arguments += (envelope.id, envelope.body)
        return arguments

    def _receipt(self, envelope: Envelope, why: bytes, what: bytes) -> Receipt:
        match why:
            case b"full":
                longest = self._max_lengths.get(envelope.queue)
                return PublishRefused(
                    f"Queue {envelope.queue!r} is full: {int(what)} messages wait, {longest} may (max_length)."
                )
            case b"owner":
                queue, _, id = what.decode().partition("\n")
                return Owned(id, queue)
            case b"record":
                # A fresh id can only have ended as what the first sending published.
                return None if self._is_repeat and envelope.is_fresh else Taken(None, what)
            case _:
                # One that has a unique key may have been replaced since the first sending.
                is_own = what == envelope.body or (envelope.is_fresh and envelope.unique is not None)
                return None if self._is_repeat and is_own else Taken(what, None)


def due_with_terms(due_ms: int, terms: Terms | None) -> str:
    """Return when a message is due, and its terms behind a space, as scripts/following.lua has them."""
    return str(max(due_ms, 0)) if terms is None else f"{max(due_ms, 0)} {encode_terms(terms)}"


def how_given_back(term: UniqueTerm) -> str | int:
    """Return how a unique key is given back, as scripts/uniques.lua has it."""
    return term.ttl_ms or ("s" if term.ends_at_start else "e")


def term_text(term: UniqueTerm) -> str:
    """Return how a unique key is given back, and the key, as scripts/keyed.lua has it."""
    return f"{how_given_back(term)} {term.key}"


def replacing(term: UniqueTerm) -> str:
    """Return what becomes of a call that has the key, as scripts/publish_unique.lua has it."""
    start, end = term.id_at
    return f"{'m' if term.moves else 'r'}{start} {end} {term.longest_ms}" if term.replaces else ""
