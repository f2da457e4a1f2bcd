"""The member: a consumer as everybody may see it, and how it goes."""

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple


class Member(NamedTuple):
    """A consumer, as everybody may see it.

    Attributes:
        name: of the consumer.
        queues: that it consumes.
        lease_end_ms: when its lease runs out unless it is renewed; past: it awaits being reclaimed; 0: it is being.
        about: what it told of itself at its last renewal; empty: nothing yet.
    """

    name: str
    queues: Sequence[str]
    lease_end_ms: int
    about: bytes


class Departure(StrEnum):
    """How a membership ends. LEFT counts no crash, DIED is certain, SILENT (past its lease) may be cut off only."""

    LEFT = "left"
    DIED = "died"
    SILENT = "silent"
