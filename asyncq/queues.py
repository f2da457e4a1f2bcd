"""The queue: a name, and what may be declared about it."""

import re
from dataclasses import dataclass

from asyncq.errors import ConfigurationError

DEFAULT_QUEUE = "default"
MAX_PRIORITY = 9
_NAME = re.compile(r"[A-Za-z0-9_.-]+")


@dataclass(frozen=True, slots=True)
class Queue:
    """A declared queue.

    Attributes:
        name: letters, digits, `_`, `.` and `-`.
        max_priority: largest priority that may be published, 0-9; None: all, or none on a broker whose queues have
            priorities only where that is asked for.
        concurrency: how many of its tasks one worker process runs at once; None: as many as the worker runs in all.
        max_length: messages that may wait, due or not; publishing more raises `PublishRefused`. None: no limit.
    """

    name: str
    max_priority: int | None = None
    concurrency: int | None = None
    max_length: int | None = None

    def __post_init__(self) -> None:
        check_queue_name(self.name)
        if self.max_priority is not None and not 0 <= self.max_priority <= MAX_PRIORITY:
            raise ConfigurationError(
                f"Queue {self.name!r}: max_priority is 0 to 9, or None; got {self.max_priority!r}."
            )
        for option, value in (("concurrency", self.concurrency), ("max_length", self.max_length)):
            if value is not None and value < 1:
                raise ConfigurationError(f"Queue {self.name!r}: {option} is 1 or more, or None; got {value!r}.")


def check_queue_name(name: str) -> str:
    """Return the name, or raise ConfigurationError when it cannot name a queue."""
    if not _NAME.fullmatch(name):
        raise ConfigurationError(f"A queue's name is made of letters, digits, '_', '.' and '-'; got {name!r}.")
    return name
