"""The ranking: items in the order of their keys, any of which can be taken out again."""

from collections.abc import Hashable, Iterable
from heapq import heapify, heappop, heappush
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)

_SLACK = 64


class Ranking(Generic[T]):
    """A heap whose items can be discarded; what is discarded is swept out before it outnumbers what is left.

    An item is here once. The second number of a key is unique, so that two items are never compared.
    """

    __slots__ = ("_heap", "_places")

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, T]] = []
        self._places: dict[T, tuple[int, int, T]] = {}

    def __len__(self) -> int:
        return len(self._places)

    def add(self, item: T, key: int, serial: int) -> None:
        """Put an item in its place; if it is here already, that is its new one."""
        place = self._places[item] = (key, serial, item)
        heappush(self._heap, place)
        self._sweep()

    def discard(self, item: T) -> bool:
        """Take an item out; return whether it was here."""
        was_here = self._places.pop(item, None) is not None
        self._sweep()
        return was_here

    def items(self) -> Iterable[T]:
        """Return all items, in no order."""
        return self._places.keys()

    def key_of(self, item: T) -> int | None:
        """Return the key of an item, None when it is not here."""
        place = self._places.get(item)
        return None if place is None else place[0]

    def first_key(self) -> int | None:
        """Return the smallest key, None when nothing is here."""
        first = self.first()
        return None if first is None else first[0]

    def first(self) -> tuple[int, int, T] | None:
        """Return the item with the smallest key, behind its key and its second number; None when nothing is here."""
        heap = self._heap
        while heap and self._places.get(heap[0][2]) is not heap[0]:
            heappop(heap)
        return heap[0] if heap else None

    def pop(self) -> T | None:
        """Take out the item with the smallest key, None when nothing is here."""
        while self._heap:
            place = heappop(self._heap)
            if self._places.get(place[2]) is place:
                del self._places[place[2]]
                return place[2]
        return None

    def pop_through(self, key: int) -> list[T]:
        """Take out all items whose key is no larger than this one, in their order."""
        items: list[T] = []
        while (first := self.first_key()) is not None and first <= key:
            item = heappop(self._heap)[2]
            del self._places[item]
            items.append(item)
        return items

    def _sweep(self) -> None:
        if len(self._heap) > 2 * len(self._places) + _SLACK:
            self._heap = list(self._places.values())
            heapify(self._heap)
