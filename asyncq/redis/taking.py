"""The taking: copies on their way to the ledger, in few script calls, what it says of each, and whose turn it is."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, cast

import msgspec

from asyncq.errors import LeaseLost
from asyncq.ledger import Copy, Held, Lent, Parked, Turns, Verdict
from asyncq.redis.keys import Keys
from asyncq.redis.parts import MAX_ITEMS, Part, parts_of
from asyncq.redis.script import all_scripts
from asyncq.redis.server import Argument, Call, Reply, call
from asyncq.terms import Terms, decode_terms, encode_terms

_NOT_A_MEMBER = -1
"""Answer of scripts/ledger_take.lua, and of scripts/ledger_turns.lua."""


class Taking:
    """Copies, and the verdict on each.

    Args:
        copies: that have come.
        name: of the holder.
        number: of this take, among the holder's.
        is_put_off: none is to be lent.
    """

    def __init__(self, copies: Sequence[Copy], name: str, number: int, *, is_put_off: bool = False) -> None:
        self._name = name
        self._number = number
        self._is_put_off = is_put_off
        self._parts = parts_of(copies, _measure)
        self._count = len(copies)

    def calls(self, keys_of: Callable[[str], Keys]) -> list[Call]:
        """Return the script calls."""
        calls: list[Call] = []
        offset = 0
        for part in self._parts:
            arguments: list[Argument] = [self._name, self._number, offset, int(self._is_put_off)]
            for id, _, body, priority, generation, _, terms in part.items:
                said = generation if terms is None else f"{generation} {encode_terms(terms)}"
                arguments += (f"{priority}{id}", said, body)
            calls.append(call("ledger_take", keys_of(part.queue), *arguments))
            offset += len(part.items)
        return calls

    def verdicts(self, replies: Sequence[Reply]) -> list[Verdict]:
        """Return a verdict on each copy. Raises LeaseLost: their holder is no member any more."""
        verdicts: list[Verdict] = [None] * self._count
        prefix, offset = f"{self._name}/{self._number}/", 0
        for part, reply in zip(self._parts, replies, strict=True):
            if reply == _NOT_A_MEMBER:
                raise _lost(self._name)
            for place, (index, copy) in enumerate(zip(part.indexes, part.items, strict=True), offset):
                verdicts[index] = Lent(f"{prefix}{place}{copy.priority}", 0)
            self._except(part, reply, verdicts)
            offset += len(part.items)
        return verdicts

    def _except(self, part: Part[Copy], reply: Reply, verdicts: list[Verdict]) -> None:
        """Fill in the verdicts on copies that are not lent, or with crashes on their count, or with terms."""
        answers = cast(Iterable[tuple[int, bytes, bytes]], zip(reply[::3], reply[1::3], reply[2::3], strict=True))
        for place, what, amount in answers:
            index = part.indexes[place]
            verdict = verdicts[index]
            if what == b"parked":
                verdicts[index] = Parked(turn_ms(amount))
            elif what == b"held":
                verdicts[index] = Held(int(amount))
            elif what == b"gone" or not isinstance(verdict, Lent):
                verdicts[index] = None
            else:
                number = int(amount)
                verdicts[index] = Lent(verdict.token, abs(number), number < 0, what == b"granted")


class Asking:
    """A question for calls whose turn has come, and the answer.

    Args:
        limits, count, suspects: as in `Holder.take_turns`.
        name: of the holder.
        number: of this take, among the holder's.
    """

    def __init__(self, limits: Mapping[str, int], count: int, suspects: int, name: str, number: int) -> None:
        self._limits = limits
        self._count = min(count, MAX_ITEMS)
        self._suspects = suspects
        self._name = name
        self._number = number

    def call(self, keys_of: Callable[[str], Keys]) -> Call:
        """Return the script call."""
        script = all_scripts()["ledger_turns"]
        keys = [key for queue in self._limits for key in script.select(keys_of(queue))]
        arguments = (self._name, self._number, self._count, self._suspects, *self._limits.values())
        return Call("ledger_turns", tuple(keys), arguments)

    def turns(self, reply: Reply) -> Turns:
        """Return what was lent. Raises LeaseLost: the holder is no member any more."""
        if reply == _NOT_A_MEMBER:
            raise _lost(self._name)
        due, are_waiting, *found = cast(list[Any], reply)
        lent: list[tuple[Copy, Lent]] = []
        for queue, *lists in zip(self._limits, *(found[part::6] for part in range(6)), strict=False):
            for member, body, token, crash, generation, text in zip(*lists, strict=True):
                id, priority, number, terms = member[1:].decode(), member[0] - 48, int(crash), terms_in(text)
                copy = Copy(id, queue, body, priority, int(generation), 0, terms and terms.once_lent())
                has_terms = terms is not None and terms.needs_grant
                lent.append((copy, Lent(token.decode(), abs(number), number < 0, has_terms)))
        return Turns(lent, turn_ms(due) if due else None, bool(are_waiting))


def turn_ms(text: bytes) -> int | None:
    """Return the time of a line; None: only a call can help."""
    due_ms = float(text)
    return None if math.isinf(due_ms) else math.floor(due_ms)


def terms_in(text: bytes) -> Terms | None:
    """Return what a call needs; None: nothing, or nothing that can be read."""
    with suppress(msgspec.DecodeError):
        return decode_terms(text.decode()) if text else None
    return None


def _lost(name: str) -> LeaseLost:
    return LeaseLost(f"Holder {name!r} is no member any more; go on under a new name.")


def _measure(copy: Copy) -> tuple[str, int]:
    return copy.queue, len(copy.body)
