"""The taking: copies on their way to the ledger, in few script calls, and what it says of each."""

from collections.abc import Callable, Iterable, Sequence
from typing import cast

from asyncq.errors import LeaseLost
from asyncq.ledger import Copy, Held, Lent, Verdict
from asyncq.redis.keys import Keys
from asyncq.redis.parts import Part, parts_of
from asyncq.redis.server import Argument, Call, Reply, call

_NOT_A_MEMBER = -1
"""Answer of scripts/ledger_take.lua."""


class Taking:
    """Copies, and the verdict on each.

    Args:
        copies: that have come.
        name: of the holder.
        number: of this take, among the holder's.
    """

    def __init__(self, copies: Sequence[Copy], name: str, number: int) -> None:
        self._name = name
        self._number = number
        self._parts = parts_of(copies, _measure)
        self._count = len(copies)

    def calls(self, keys_of: Callable[[str], Keys]) -> list[Call]:
        """Return the script calls."""
        calls: list[Call] = []
        offset = 0
        for part in self._parts:
            arguments: list[Argument] = [self._name, self._number, offset]
            for id, _, body, priority, generation, _ in part.items:
                arguments += (f"{priority}{id}", generation, body)
            calls.append(call("ledger_take", keys_of(part.queue), *arguments))
            offset += len(part.items)
        return calls

    def verdicts(self, replies: Sequence[Reply]) -> list[Verdict]:
        """Return a verdict on each copy. Raises LeaseLost: their holder is no member any more."""
        verdicts: list[Verdict] = [None] * self._count
        prefix, offset = f"{self._name}/{self._number}/", 0
        for part, reply in zip(self._parts, replies, strict=True):
            if reply == _NOT_A_MEMBER:
                raise LeaseLost(f"Holder {self._name!r} is no member any more; go on under a new name.")
            for place, (index, copy) in enumerate(zip(part.indexes, part.items, strict=True), offset):
                verdicts[index] = Lent(f"{prefix}{place}{copy.priority}", 0)
            self._except(part, reply, verdicts)
            offset += len(part.items)
        return verdicts

    def _except(self, part: Part[Copy], reply: Reply, verdicts: list[Verdict]) -> None:
        """Fill in the verdicts on copies that are not lent, or with crashes on their count."""
        answers = cast(Iterable[tuple[int, bytes, bytes]], zip(reply[::3], reply[1::3], reply[2::3], strict=True))
        for place, what, amount in answers:
            index, number = part.indexes[place], int(amount)
            verdict = verdicts[index]
            if what == b"lent" and isinstance(verdict, Lent):
                verdicts[index] = Lent(verdict.token, abs(number), is_doubtful=number < 0)
            else:
                verdicts[index] = Held(number) if what == b"held" else None


def _measure(copy: Copy) -> tuple[str, int]:
    return copy.queue, len(copy.body)
