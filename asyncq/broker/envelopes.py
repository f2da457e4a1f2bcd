"""The envelopes: what a message has to fulfil before it is sent, and what is sent of it."""

import logging
from collections.abc import Mapping

from asyncq.broker.priorities import Priorities
from asyncq.broker.terms import term_of
from asyncq.errors import PublishRefused
from asyncq.message import Message, encode_message, terms_of
from asyncq.queues import DEFAULT_QUEUE, Queue
from asyncq.transport import Capabilities, Envelope, without_groups

logger = logging.getLogger("asyncq.broker")


class Envelopes:
    """Makes envelopes of messages, and refuses what no worker should get.

    Args:
        queues: those that are declared.
        known_queues: those that tasks name. Each other that is published to is warned of once, and added.
        priorities: of the queues.
        capabilities: of the transport.
        max_size: bytes that a message may have.
    """

    def __init__(
        self,
        queues: Mapping[str, Queue],
        known_queues: set[str],
        priorities: Priorities,
        capabilities: Capabilities,
        *,
        max_size: int,
    ) -> None:
        self._queues = queues
        self._known_queues = known_queues
        self._priorities = priorities
        self._capabilities = capabilities
        self._max_size = max_size

    def make(self, message: Message, *, is_fresh: bool) -> Envelope:
        """Return the envelope.

        Raises:
            PublishRefused: its queue has no such priority, or it is too large.
            NotSupported: nobody here has priorities, knows groups, or would know its id again.
        """
        queue = message.queue
        if queue not in self._known_queues:
            self._warn_unknown(queue)
        if message.priority > 0:
            self._priorities.check(message.task, queue, message.priority, PublishRefused)
        if message.digest and not self._capabilities.has_memory:
            raise self._capabilities.without_memory(f"{message.task!r} with options(id={message.id!r})")
        body = encode_message(message)
        if len(body) > self._max_size:
            raise PublishRefused(
                f"A call of {message.task!r} has {len(body):,} bytes; this broker takes {self._max_size:,} "
                "(max_message_size). Store large data elsewhere and pass its address."
            )
        if message.terms is not None and message.terms.group and not self._capabilities.has_groups:
            raise without_groups(message.task)
        unique = None
        if message.unique is not None:
            if not self._capabilities.has_uniqueness:
                raise self._capabilities.without_uniqueness(message.task)
            unique = term_of(message.unique, message.id, body)
        return Envelope(message.id, queue, body, message.priority, message.due_ms, is_fresh, unique, terms_of(message))

    def _warn_unknown(self, queue: str) -> None:
        self._known_queues.add(queue)
        if queue not in self._queues and queue != DEFAULT_QUEUE:
            logger.warning("Publishing to queue %r, which no declared task or Queue names.", queue)
