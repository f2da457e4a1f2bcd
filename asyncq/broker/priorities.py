"""Priorities: which of them a queue has."""

from collections.abc import Mapping

from asyncq.errors import ConfigurationError, NotSupported, PublishRefused
from asyncq.queues import MAX_PRIORITY, Queue


class Priorities:
    """Knows up to which priority each queue goes.

    Args:
        queues: those that are declared.
        has_priorities: what holds where nothing is declared: all of them, or none.
    """

    def __init__(self, queues: Mapping[str, Queue], *, has_priorities: bool) -> None:
        self._queues = queues
        self._default = MAX_PRIORITY if has_priorities else 0

    def highest(self, queue: str) -> int:
        """Return the largest priority of a queue."""
        declared = self._queues.get(queue)
        if declared is None or declared.max_priority is None:
            return self._default
        return declared.max_priority

    def check(self, task: str, queue: str, priority: int, error: type[ConfigurationError | PublishRefused]) -> None:
        """Raise `error` for a priority that the queue lacks; NotSupported where it has not asked for any."""
        highest = self.highest(queue)
        if priority <= highest:
            return
        if not self._default and not highest:
            raise NotSupported(
                f"{task!r} has priority {priority}, and queue {queue!r} has no priorities: on this broker they have to "
                f'be asked for, with Queue("{queue}", max_priority={MAX_PRIORITY}) among its queues=.'
            )
        raise error(f"Queue {queue!r} takes priorities up to {highest}; {task!r} has {priority}.")
