"""The chunk: a part of a large batch that is published together."""

from collections.abc import Awaitable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple, TypeVar

from asyncq.broker.receipts import existing
from asyncq.errors import BrokerError, BrokerUnavailable
from asyncq.message import Message
from asyncq.tasks import Handle
from asyncq.transport import Receipt

T = TypeVar("T")


class Chunk(NamedTuple):
    """Messages under way.

    Attributes:
        start: index of the first in the whole batch.
        messages: what was to be published.
        handles: one for each message.
        refused: those that were not sent, and why, by index in the chunk.
        published: the receipts of the others.
    """

    start: int
    messages: Sequence[Message]
    handles: Sequence[Handle[Any]]
    refused: Mapping[int, Exception]
    published: Awaitable[Sequence[Receipt]]

    async def confirmed(self) -> dict[int, Exception]:
        """Wait for the receipts, confirm the handles, and return the errors, by index in the whole batch."""
        try:
            receipts = iter(await self.published)
        except BrokerUnavailable as error:
            return {self.start + index: self.refused.get(index, error) for index in range(len(self.messages))}
        errors: dict[int, Exception] = {self.start + index: error for index, error in self.refused.items()}
        for index, (message, handle) in enumerate(zip(self.messages, self.handles, strict=True)):
            if index not in self.refused:
                try:
                    handle.confirm(existing(message, next(receipts)))
                except BrokerError as error:
                    errors[self.start + index] = error
        return errors


def chunked(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield the items in lists of so many (`itertools.batched` came with 3.12)."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk
