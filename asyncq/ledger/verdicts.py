"""The verdicts: copies of messages, and what a ledger answers to who asks for theirs, or claims an id or a key."""

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

from asyncq.errors import PublishRefused
from asyncq.terms import Terms
from asyncq.transport import Owned, Taken


class Copy(NamedTuple):
    """A message as it was delivered.

    Attributes:
        id, queue, body, priority: as it was published.
        generation: life and attempt in one number: what `claim`, `reopen`, `reschedule` or `orphans` says, the
            `next_attempt` with each `Again`, else 0.
        due_ms: of one that is to be published: not to be delivered before; 0 or past: at once.
        terms: what has to be granted before it is lent, as far as is known; None: nothing.
    """

    id: str
    queue: str
    body: bytes
    priority: int
    generation: int
    due_ms: int = 0
    terms: Terms | None = None


class Lent(NamedTuple):
    """The call is ours to run.

    Attributes:
        token: names this one lending among all of its holder's; a settlement with an outdated token takes no effect.
        crashes, is_doubtful, has_terms: as in `Delivery`.
    """

    token: str
    crashes: int
    is_doubtful: bool = False
    has_terms: bool = False


class Held(NamedTuple):
    """A consumer has it that was not reclaimed, maybe the same one that asks: the copy is to come again later.

    Attributes:
        lease_end_ms: when that consumer's lease runs out unless it is renewed; past: it may be reclaimed at any moment.
            Of a copy that is newer than what runs the present: its holder has sent it on, and is about to say so; or
            somebody has who had lost the call to it.
    """

    lease_end_ms: int


class Suspect(NamedTuple):
    """Nobody has the call, but it is a suspect, and no more of those were to be lent: the copy is to come again soon.

    Attributes:
        crashes: as in `Delivery`.
    """

    crashes: int


class Parked(NamedTuple):
    """The call waits in the line of a limit, or of its queue, and is lent by `take_turns`.

    The copy is to come again in `PARKED_MS`.

    Attributes:
        due_ms: when asking for its line may help; past: now; None: only a freed slot can, or a change.
    """

    due_ms: int | None


class Turns(NamedTuple):
    """What was lent to somebody who asked for lines.

    Attributes:
        lent: calls that were parked, in the order in which they should start.
        due_ms: when asking again may help; past: now; 0: at once, for one question moves no more from line to line than
            it has; None: only a freed slot can help, or a change, or there are no lines.
        are_waiting: calls of these queues wait in lines still.
    """

    lent: Sequence[tuple[Copy, Lent]]
    due_ms: int | None
    are_waiting: bool


Verdict: TypeAlias = Lent | Held | Suspect | Parked | None
"""What becomes of a copy. None: it is not wanted any more, because its call has ended or has gone on without it."""


class Claimed(NamedTuple):
    """Another message has claimed the id or the unique key, and nobody knows whether it was published.

    Its publisher may have died.

    Attributes:
        generation: to publish it with.
        body: of that message.
        owner: whose message it is, where it has claimed the key; None: it has claimed the id.
    """

    generation: int
    body: bytes
    owner: Owned | None = None


class Replaced(NamedTuple):
    """The unique key is the call's that waits, and is now what this one would have been.

    Attributes:
        owner: that call.
        copy: what it has become: to be published, and `placed`, before it is said whose the key is.
    """

    owner: Owned
    copy: Copy


ClaimReceipt: TypeAlias = Taken | Owned | Claimed | Replaced | PublishRefused | int
"""What became of a claim: who has the id or the key, why nobody has it, or the generation to publish it with."""
