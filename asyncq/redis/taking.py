"""The taking: copies on their way to the ledger, in few script calls, what it says of each, and whose turn it is."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, cast

import msgspec

from asyncq.errors import LeaseLost
from asyncq.ledger import Copy, Held, Lent, Parked, Suspect, Turns, Verdict
from asyncq.redis.keys import Keys
from asyncq.redis.parts import MAX_ITEMS, Part, parts_of
from asyncq.redis.script import all_scripts
from asyncq.redis.server import Argument, Call, Reply, call
from asyncq.terms import Terms, decode_terms, encode_terms
from asyncq.transport import SUSPECT_CRASHES

_NOT_A_MEMBER = -1
"""Answer of scripts/ledger_take.lua, and of scripts/ledger_turns.lua."""


class Taking:
    """Copies, and the verdict on each.

    Each part goes in a call of its own, which knows nothing of the others. So one of them may lend suspects, and what
    the others have left for that reason alone is asked for again.

    Args:
        copies: that have come.
        name: of the holder.
        number: of this take, among the holder's.
        suspects: how many of those that are lent may be suspects.
        is_put_off: none is to be lent.

    Attributes:
        verdicts: one on each copy.
    """

    def __init__(
        self, copies: Sequence[Copy], name: str, number: int, *, suspects: int = 0, is_put_off: bool = False
    ) -> None:
        self.verdicts: list[Verdict] = [None] * len(copies)
        self._copies = copies
        self._name = name
        self._number = number
        self._suspects = suspects
        self._is_put_off = is_put_off
        self._wanted = list(range(len(copies)))
        self._parts: list[Part[tuple[int, Copy]]] = []
        self._offset = 0

    def calls(self, keys_of: Callable[[str], Keys]) -> list[Call]:
        """Return the script calls that are to be made; none: the verdicts are there."""
        self._parts = parts_of(((index, self._copies[index]) for index in self._wanted), _measure)
        calls: list[Call] = []
        offset, suspects = self._offset, self._suspects
        for part in self._parts:
            arguments: list[Argument] = [self._name, self._number, offset, int(self._is_put_off), suspects]
            for _, (id, _, body, priority, generation, _, terms) in part.items:
                said = generation if terms is None else f"{generation} {encode_terms(terms)}"
                arguments += (f"{priority}{id}", said, body)
            calls.append(call("ledger_take", keys_of(part.queue), *arguments))
            offset += len(part.items)
            suspects = 0
        return calls

    def hear(self, replies: Sequence[Reply]) -> None:
        """Fill in the verdicts. Raises LeaseLost: their holder is no member any more."""
        prefix = f"{self._name}/{self._number}/"
        for part, reply in zip(self._parts, replies, strict=True):
            if reply == _NOT_A_MEMBER:
                raise _lost(self._name)
            for place, (index, copy) in enumerate(part.items, self._offset):
                self.verdicts[index] = Lent(f"{prefix}{place}{copy.priority}", 0)
            self._except(part, reply)
            self._offset += len(part.items)
        asked = [self.verdicts[index] for index in self._wanted]
        self._suspects -= sum(isinstance(verdict, Lent) and verdict.crashes >= SUSPECT_CRASHES for verdict in asked)
        left = [index for index in self._wanted if isinstance(self.verdicts[index], Suspect)]
        self._wanted = left if self._suspects > 0 else []

    def _except(self, part: Part[tuple[int, Copy]], reply: Reply) -> None:
        """Fill in the verdicts on copies that are not lent, or with crashes on their count, or with terms."""
        answers = cast(Iterable[tuple[int, bytes, bytes]], zip(reply[::3], reply[1::3], reply[2::3], strict=True))
        for place, what, amount in answers:
            index, _ = part.items[place]
            verdict = self.verdicts[index]
            if what == b"parked":
                self.verdicts[index] = Parked(turn_ms(amount))
            elif what == b"held":
                self.verdicts[index] = Held(int(amount))
            elif what == b"suspect":
                self.verdicts[index] = Suspect(int(amount))
            elif what == b"gone" or not isinstance(verdict, Lent):
                self.verdicts[index] = None
            else:
                number = int(amount)
                self.verdicts[index] = Lent(verdict.token, abs(number), number < 0, what == b"granted")


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


def _measure(asked: tuple[int, Copy]) -> tuple[str, int]:
    _, copy = asked
    return copy.queue, len(copy.body)
