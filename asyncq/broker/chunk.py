"""The chunk: a part of a large batch that is published together."""

from collections.abc import Awaitable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import NamedTuple, TypeVar

from asyncq.errors import BrokerUnavailable
from asyncq.transport import Receipt

T = TypeVar("T")


class Chunk(NamedTuple):
    """Messages under way.

    Attributes:
        size: how many messages it is about.
        refused: those that were not sent, and why, by index.
        published: the receipts of the others.
    """

    size: int
    refused: Mapping[int, Exception]
    published: Awaitable[Sequence[Receipt]]

    async def receipts(self) -> list[Receipt | Exception]:
        """Wait, and return a receipt or an error for each message."""
        try:
            published = iter(await self.published)
        except BrokerUnavailable as error:
            return [self.refused.get(index, error) for index in range(self.size)]
        return [self.refused[index] if index in self.refused else next(published) for index in range(self.size)]


def chunked(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield the items in lists of so many (`itertools.batched` came with 3.12)."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk
