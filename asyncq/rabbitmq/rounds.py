"""The rounds: of a batch, what is claimed together, so that a unique key is claimed by one at a time."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from asyncq.transport import Envelope, UniqueTerm


class Rounds(NamedTuple):
    """A batch, by index.

    Attributes:
        first: those without a unique key, and the first of each.
        second: of the others those that have to be asked for by themselves, such as the last of each key: for whoever
            is replaced by all of them is what that one says.
        alike: what those get that are not asked for: the index of a later one of their key, which does what they would.
    """

    first: Sequence[int]
    second: Sequence[int]
    alike: Mapping[int, int]


def rounds_of(envelopes: Sequence[Envelope]) -> Rounds:
    """Divide a batch."""
    first: list[int] = []
    others: dict[str, list[int]] = {}
    for index, envelope in enumerate(envelopes):
        key = None if envelope.unique is None else envelope.unique.key
        if key is not None and key in others:
            others[key].append(index)
            continue
        first.append(index)
        if key is not None:
            others[key] = []
    alike: dict[int, int] = {}
    for some in others.values():
        alike |= _alike(envelopes, some)
    return Rounds(first, [index for some in others.values() for index in some if index not in alike], alike)


def _alike(envelopes: Sequence[Envelope], some: Sequence[int]) -> dict[int, int]:
    """Return which of one key need not be asked for, and in favour of which later one.

    What is said of an id that a caller chose may be of no other; and one that replaces less undoes nothing.
    """
    alike: dict[int, int] = {}
    later: int | None = None
    for index in reversed(some):
        if not envelopes[index].is_fresh:
            continue
        if later is not None and _is_undone(envelopes[index].unique, envelopes[later].unique):
            alike[index] = later
        else:
            later = index
    return alike


def _is_undone(term: UniqueTerm | None, later: UniqueTerm | None) -> bool:
    """Tell whether nothing is left of what one has done to the call of its key, once a later one has come."""
    return term is None or (later is not None and later.replaces >= term.replaces and later.moves >= term.moves)
