"""The rounds: of a batch, what is claimed together, so that a unique key is claimed by one at a time."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from asyncq.transport import Envelope


class Rounds(NamedTuple):
    """A batch, by index.

    Attributes:
        first: those without a unique key, and the first of each.
        second: of the others those that have to be asked for by themselves, and the last of each key: for whoever is
            replaced by all of them is what that one says.
        alike: what those get that are not asked for: the index of the last of their key.
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
    alike = {index: some[-1] for some in others.values() for index in some[:-1] if envelopes[index].is_fresh}
    return Rounds(first, [index for some in others.values() for index in some if index not in alike], alike)
