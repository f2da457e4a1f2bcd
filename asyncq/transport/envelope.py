"""The envelope: a message on its way in, and what became of it."""

from typing import NamedTuple, TypeAlias

from asyncq.errors import PublishRefused
from asyncq.terms import Terms
from asyncq.transport.unique import UniqueTerm


class Envelope(NamedTuple):
    """A message, ready to be moved.

    Attributes:
        id: unique in the transport while the message is there or a result is kept under it.
        queue: a valid queue name.
        body: the encoded message.
        priority: 0-9; larger is fetched first, equal ones in the order in which they were published.
        due_ms: not to be fetched before; 0 or past: at once.
        is_fresh: the id was made for this one publish and can't be known to anybody: nothing to look up.
        unique: a key that it has to itself; None: none.
        terms: what has to be granted before it is lent, and its group; None: nothing. Only where
            `Capabilities.has_limits`, and a group where it `has_groups`.
    """

    id: str
    queue: str
    body: bytes
    priority: int = 0
    due_ms: int = 0
    is_fresh: bool = False
    unique: UniqueTerm | None = None
    terms: Terms | None = None


class Taken(NamedTuple):
    """The id was there already, so nothing was published. One of the two is set; neither where nothing is kept of it.

    Attributes:
        body: the message that has the id, while its task has not ended.
        record: the result that is kept under the id.
    """

    body: bytes | None
    record: bytes | None


class Owned(NamedTuple):
    """The unique key is another call's, so nothing was published; the term says what has become of that call.

    Attributes:
        id, queue: of the call that has it.
    """

    id: str
    queue: str


Receipt: TypeAlias = Taken | Owned | PublishRefused | None
"""What became of one envelope: None means that it was published."""
