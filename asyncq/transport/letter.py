"""The dead letter: a message that has failed for good, and how it comes back."""

from enum import Enum
from typing import NamedTuple

from asyncq.terms import Terms
from asyncq.transport.unique import UniqueTerm


class DeadLetter(NamedTuple):
    """A message that will not run again.

    Attributes:
        body: the message as it was when it died.
        record: its final result, with error and traceback; None where none was kept.
        died_ms: when.
        place: its number in the order of the queue's deaths; larger died later.
    """

    id: str
    queue: str
    body: bytes
    reason: str
    record: bytes | None
    died_ms: int
    place: int


class Revival(NamedTuple):
    """A dead letter that is to run again.

    Attributes:
        letter: as it was read.
        body: the message for its next life.
        priority: 0-9.
        unique: the key that the message has to itself, taken anew.
        terms: of the message; a transport that does not look at them lends it once without.
    """

    letter: DeadLetter
    body: bytes
    priority: int = 0
    unique: UniqueTerm | None = None
    terms: Terms | None = None


class Revived(Enum):
    """What became of a `Revival`."""

    DONE = "done"
    GONE = "gone"
    """There is no such letter any more: somebody else was faster, or its message has died once more since."""
    TAKEN = "taken"
    """Its id belongs to another call that has not ended, or whose result is kept, or its unique key is: the letter
    stays."""
