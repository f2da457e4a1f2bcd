"""The bulk: many calls that are published in few round trips."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from asyncq.broker.batcher import Batcher
from asyncq.broker.chunk import Chunk, chunked
from asyncq.broker.envelopes import Envelopes
from asyncq.errors import PublishError, PublishRefused
from asyncq.message import Message
from asyncq.tasks import Handle
from asyncq.transport import Envelope, Receipt

CHUNK_SIZE = 500
"""Messages that go in one round trip."""


class Bulk:
    """Publishes in chunks: the next is made while the one before is under way.

    Args:
        publisher: sends envelopes.
        envelopes: makes them.
        handle_of: returns the handle of a message that is about to be published.
    """

    def __init__(
        self,
        publisher: Batcher[Envelope, Receipt],
        envelopes: Envelopes,
        handle_of: Callable[[Message], Handle[Any]],
    ) -> None:
        self._publisher = publisher
        self._envelopes = envelopes
        self._handle_of = handle_of

    async def publish(self, messages: Iterable[Message]) -> list[Handle[Any]]:
        """Publish all; return their handles in order. Raises what `Broker.kiq_many` raises."""
        handles: list[Handle[Any]] = []
        errors: dict[int, Exception] = {}
        ahead: Chunk | None = None
        try:
            for some in chunked(messages, CHUNK_SIZE):
                before, ahead = ahead, self._sent(some, len(handles))  # while the one before is under way
                handles += ahead.handles
                errors |= await before.confirmed() if before else {}
        except Exception:  # the caller's own generator: nothing is under way any more when that comes out
            if ahead:
                await ahead.confirmed()
            raise
        errors |= await ahead.confirmed() if ahead else {}
        if errors:
            raise PublishError({index: each for index, each in enumerate(handles) if index not in errors}, errors)
        return handles

    def _sent(self, messages: Sequence[Message], start: int) -> Chunk:
        """Send what of these messages can be sent."""
        for message in messages:
            if not isinstance(message, Message):  # pyright: ignore[reportUnnecessaryIsInstance] - a call, say
                raise TypeError(f"kiq_many() takes messages, as task.message(...) makes them; got {message!r}.")
        handles = [self._handle_of(message) for message in messages]
        refused: dict[int, Exception] = {}
        envelopes: list[Envelope] = []
        for index, message in enumerate(messages):
            try:
                envelopes.append(self._envelopes.make(message, is_fresh=False))
            except PublishRefused as error:
                refused[index] = error
        return Chunk(start, messages, handles, refused, self._publisher.put_all(envelopes))
