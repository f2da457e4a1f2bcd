"""The lanes: calls that wait, of which groups take turns."""

from collections import OrderedDict
from collections.abc import Iterable
from itertools import chain

from asyncq.memory.entry import Entry
from asyncq.memory.ranking import Ranking
from asyncq.terms import PRIORITY_STEP_MS


class Lanes:
    """Calls in the order in which they are taken: a lane for each group, and one for those without a group.

    The first lane is served and goes to the end, where a new one joins. So nobody waits for more than one call of each
    group that was there before him, and who publishes one call at a time, again and again, is not served more often.
    """

    __slots__ = ("_count", "_lanes")

    def __init__(self) -> None:
        self._count = 0
        self._lanes: OrderedDict[str, Ranking[Entry]] = OrderedDict()

    def __len__(self) -> int:
        return self._count

    def add(self, entry: Entry) -> None:
        """Put a call in its place, which is not here yet."""
        group = entry.group
        lane = self._lanes.get(group)
        if lane is None:
            lane = self._lanes[group] = Ranking[Entry]()
        lane.add(entry, place_in_group(entry) if group else -entry.priority, entry.serial)
        self._count += 1

    def discard(self, entry: Entry) -> None:
        """Take a call out, if it is here."""
        lane = self._lanes.get(entry.group)
        if lane is not None and lane.discard(entry):
            self._count -= 1
            if not len(lane):
                del self._lanes[entry.group]

    def first(self) -> Entry | None:
        """Return the call whose turn it is, None when nothing is here."""
        for lane in self._lanes.values():
            first = lane.first()
            assert first is not None, "an empty lane goes"
            return first[2]
        return None

    def serve(self, entry: Entry) -> None:
        """Take out a call for which its lane uses up its turn."""
        self._lanes.move_to_end(entry.group)
        self.discard(entry)

    def pop(self) -> Entry | None:
        """Take out the call whose turn it is, None when nothing is here."""
        entry = self.first()
        if entry is not None:
            self.serve(entry)
        return entry

    def items(self) -> Iterable[Entry]:
        """Return all calls, in no order."""
        return chain.from_iterable(lane.items() for lane in self._lanes.values())


def place_in_group(entry: Entry) -> int:
    """Return where a call stands in the lane of its group: a step of priority is worth so much waiting.

    What was handed back has waited since 1970.
    """
    return entry.ready_ms - PRIORITY_STEP_MS * entry.priority
