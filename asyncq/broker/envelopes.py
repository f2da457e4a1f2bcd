"""The envelopes: what a message has to fulfil before it is sent, and what is sent of it."""

import logging
from collections.abc import Mapping

from asyncq.errors import PublishRefused
from asyncq.message import Message, encode_message
from asyncq.queues import DEFAULT_QUEUE, MAX_PRIORITY, Queue
from asyncq.transport import Envelope

logger = logging.getLogger("asyncq.broker")


class Envelopes:
    """Makes envelopes of messages, and refuses what no worker should get.

    Args:
        queues: those that are declared.
        known_queues: those that tasks name. Each other that is published to is warned of once, and added.
        max_size: bytes that a message may have.
    """

    def __init__(self, queues: Mapping[str, Queue], known_queues: set[str], *, max_size: int) -> None:
        self._queues = queues
        self._known_queues = known_queues
        self._max_size = max_size

    def make(self, message: Message, *, is_fresh: bool) -> Envelope:
        """Return the envelope. Raises PublishRefused for a priority that its queue lacks, or too large a message."""
        queue = message.queue
        if queue not in self._known_queues:
            self._warn_unknown(queue)
        if message.priority > 0:
            self._check_priority(message)
        body = encode_message(message)
        if len(body) > self._max_size:
            raise PublishRefused(
                f"A call of {message.task!r} has {len(body):,} bytes; this broker takes {self._max_size:,} "
                "(max_message_size). Store large data elsewhere and pass its address."
            )
        return Envelope(message.id, queue, body, message.priority, message.due_ms, is_fresh)

    def _check_priority(self, message: Message) -> None:
        queue = self._queues.get(message.queue)
        highest = queue.max_priority if queue else MAX_PRIORITY
        if message.priority > highest:
            raise PublishRefused(
                f"Queue {message.queue!r} takes priorities up to {highest}; {message.task!r} has {message.priority}."
            )

    def _warn_unknown(self, queue: str) -> None:
        self._known_queues.add(queue)
        if queue not in self._queues and queue != DEFAULT_QUEUE:
            logger.warning("Publishing to queue %r, which no declared task or Queue names.", queue)
