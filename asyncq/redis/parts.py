"""The parts: what of a long list goes in which script call, by queue."""

from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

T = TypeVar("T")

MAX_ITEMS = 500
MAX_BYTES = 1_000_000
"""Bounds of one call: a script holds up everybody else while it runs."""


class Part(Generic[T]):
    """What goes in one call.

    Attributes:
        queue: that it is about.
        items: in their order.
        indexes: where each stands in the whole list.
    """

    __slots__ = ("indexes", "items", "queue", "size")

    def __init__(self, queue: str) -> None:
        self.queue = queue
        self.items: list[T] = []
        self.indexes: list[int] = []
        self.size = 0


def parts_of(items: Iterable[T], measure: Callable[[T], tuple[str, int]]) -> list[Part[T]]:
    """Divide things; `measure` returns the queue of one, and its bytes."""
    parts: list[Part[T]] = []
    open_parts: dict[str, Part[T]] = {}
    for index, item in enumerate(items):
        queue, size = measure(item)
        part = open_parts.get(queue)
        if part is None or len(part.items) >= MAX_ITEMS or part.size >= MAX_BYTES:
            part = open_parts[queue] = Part(queue)
            parts.append(part)
        part.items.append(item)
        part.indexes.append(index)
        part.size += size
    return parts
