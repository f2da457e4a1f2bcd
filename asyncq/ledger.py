"""The ledger contract: what remembers the calls of a transport that only moves them (RabbitMQ).

The transport has the messages, and may deliver one more than once: a connection was cut, a worker died, a publish was
repeated. The ledger knows of each call whether it runs, where and under which token, how many have died of it, and how
it ended. So a copy is told from the message, a late worker from the one that has the call now, and a poisonous
message from an innocent one. It shares its data with a store: what it writes, `Store.look` finds and watchers are told.

Nothing is lost with the ledger but what it knew: an id that it has not heard of is lent like a new one.

A namespace belongs to a ledger or to a transport of its store's kind, never to both: whichever comes second, and sees
it, raises `ConfigurationError`.

An id may have several lives: a dead letter's call is reopened, and an id that a caller chose is claimed again after its
end. A life may have several attempts, each published under a generation of its own: a number that grows with both
(`next_life`, `next_attempt`). While a call has not ended, a copy of a newer generation is what it has become, and an
older one is not wanted. Once it has ended, no copy of that life is wanted, of whatever attempt: a late consumer may
have published one more before it learned that it had lost the call. A copy of a later life is wanted: a failover may
have lost that the id was given another.

An end is remembered for `remembered_ms`, and of a later life for no less than the ends before it, because a copy may be
under way: delivered and not asked for, in a line, or waiting to be due.

A unique key is claimed together with the id, and kept as a transport keeps it (`UniqueTerm`): it is given back in the
step that ends its call, or first lends it. What becomes of a call that waits - another body, another time - is its next
attempt, of which the transport has no copy yet: it is an orphan, until that was published and `placed`. So whoever dies
in between loses nothing.

What limits have to grant comes with a copy (`Copy.terms`), and is granted in the step that lends it, all or nothing.
What is not granted is **parked**: it waits in its line in the ledger, which has its body, and is lent from there when
its turn has come (`take_turns`). Its copies are for the day on which the ledger has forgotten it: the transport has
them come again now and then.

Groups (`Terms.group`) take turns in the line of each limit, and in one more: that of the queue itself, in which a turn
is always there. A call of a group is parked behind those who wait in it, also where it needs nothing else; and whoever
has no time for what has come lets it wait there (`line_up`), whether or not it has a group. So what one group has a lot
of does not hold up the few of another behind it.

Every verb raises `BrokerUnavailable` when the server does not answer. All times are milliseconds since 1970 by the
ledger's clock (`now_ms`).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple, TypeAlias

from asyncq.errors import NotSupported, PublishRefused
from asyncq.limits import LimitOffice
from asyncq.terms import Terms
from asyncq.transport import (
    Dead,
    Done,
    Envelope,
    KeyOwner,
    Lease,
    Member,
    Outcome,
    Owned,
    Revival,
    Settlement,
    Taken,
    Timetable,
)


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
        due_ms: when asking again may help; past: now; None: only a freed slot can, or a change, or there are no lines.
        are_waiting: calls of these queues wait in lines still.
    """

    lent: Sequence[tuple[Copy, Lent]]
    due_ms: int | None
    are_waiting: bool


Verdict: TypeAlias = Lent | Held | Parked | None
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


class Holder(ABC):
    """One consumer, as the ledger knows it. It belongs to one event loop.

    Attributes:
        name: unique for ever.
    """

    name: str

    @abstractmethod
    async def run(self, severed: Callable[[Sequence[str]], None]) -> None:
        """Pass on the tokens of what was withdrawn while this consumer had it, as `Consumer.run` does."""

    @abstractmethod
    async def take(self, copies: Sequence[Copy]) -> Sequence[Verdict]:
        """Ask for copies that have come, in order; each is lent, parked, held or not wanted, in one atomic step.

        What a call needs is what the ledger has heard of last; of one that is newer, or that it did not know, what the
        copy says. A suspect that needs something is parked whatever there is: only `take_turns` is told how many of
        them may be lent. The end of one that was parked is remembered for as long as a copy may be away, and longer.

        Lending notes the message, whether or not it was known. A copy of an older generation than the ledger has heard
        of is not wanted; one of a newer generation is what the call has become; of a call that has ended only a copy of
        a later life. What a `take` had lent whose answer was lost, or that was cancelled, is let go by the next one,
        unharmed.

        Raises:
            LeaseLost: this consumer is no member any more.
        """

    @abstractmethod
    async def line_up(self, copies: Sequence[Copy]) -> Sequence[Held | Parked | None]:
        """Let copies that have come wait in the lines of their queues, in order, as `take` does, and lend none of them.

        Those of a group wait in its lane, all others in one together. Somebody who waits is called.

        Raises:
            LeaseLost: this consumer is no member any more.
        """

    @abstractmethod
    async def take_turns(self, limits: Mapping[str, int], count: int, *, suspects: int = 1) -> Turns:
        """Ask for calls that were parked and whose turn has come, in one atomic step.

        Lines take turns, and in each of them groups. A call that lacks something else by now, or has others before it
        who do, moves to the line of that. What an earlier one had
        lent whose answer was lost is let go by the next, or a `take`: an orphan, unless it stands in line again.

        Args:
            limits: how many of each queue may be taken.
            count: how many in all; 0: none, but whoever else waits is called if there are some.
            suspects: how many of them may be suspects. Those beyond are passed over in their lines.

        Raises:
            LeaseLost: this consumer is no member any more.
        """

    @abstractmethod
    async def called(self, queues: Sequence[str], seconds: float) -> bool:
        """Wait until calls of these queues may have got their turn by a freed slot or a change, or for so long at most.

        Of many who wait one at least is called. It asks, or lets others know by asking for 0. Returns whether it was.
        """

    @abstractmethod
    async def settle(self, settlements: Sequence[Settlement]) -> Sequence[bool]:
        """End lendings, in order, each in one atomic step. Safe to send again when the reply was lost.

        Each frees the slots of its call. Of `Done` and `Dead` the outcome is kept and told; the transport has the
        letters and publishes `then`. What follows under an id that a caller chose it claims first, like all that it
        publishes under such an id, and passes over what is taken. `Again` and `Return` leave the call waiting; `Again`
        with its new body, as the next attempt; `Return` with the terms that it says, if any.

        What `Again` sends on, and what follows, is published before: an old copy brings nothing back. What `Return`
        hands back is published, or rejected, after: who takes it before finds that it is held.

        Returns:
            For each whether it took effect. False: it was no longer lent to this consumer.
        """

    @abstractmethod
    async def absolve(self) -> None:
        """Take back the crashes that were counted in its name, as `Consumer.absolve` does."""

    @abstractmethod
    def lease(self) -> Lease:
        """Return this consumer's lease, to be used from one other thread. What it reclaims becomes orphans."""

    @abstractmethod
    async def leave(self) -> int:
        """Let go, without a crash, of whatever is still lent, and end the membership. Returns how many it was.

        Before the deliveries go back: they are no orphans.
        """


class Ledger(ABC):
    """A memory for a transport that has none. Opened and closed by that transport, on one event loop."""

    @abstractmethod
    async def open(self) -> None:
        """Connect, or raise BrokerUnavailable with what was tried."""

    @abstractmethod
    async def close(self) -> None:
        """Disconnect. Holders are left as they are."""

    @abstractmethod
    def now_ms(self) -> int:
        """Return the time by the server's clock, as well as it is known here."""

    @abstractmethod
    async def note(self, envelopes: Sequence[Envelope]) -> None:
        """Remember messages that the transport has. What is known already, or has ended meanwhile, is left as it is.

        `Envelope.due_ms` says until when one is looked at as scheduled. A claim for the same body becomes the call, and
        a unique key that was claimed with the id is the call's; where that has lapsed, it is taken unless it is
        another's by now.

        Raises:
            BrokerUnavailable: also where there is no room for more. That is no reason to fail a publish which the
                transport has confirmed: the call runs all the same, and is known when it is first lent. Until then it
                is not seen, nor withdrawn, and its claim may lapse; the transport may try again.
        """

    @abstractmethod
    async def claim(self, envelopes: Sequence[Envelope], *, ttl_ms: int) -> Sequence[ClaimReceipt]:
        """Claim ids, and unique keys with them, before their messages are published, each in one atomic step.

        Args:
            envelopes: what is to be published.
            ttl_ms: how long a claim holds unless `note` or `take` follows; until then nothing is seen of the call.

        Returns:
            For each the generation to publish it with: a later life than any of that id whose end is remembered; or who
            has the id; or, not raised, that there is no room for more. Who claims it for the same body while the claim
            is open gets it, too: the outcome of the publish is not known yet, and a copy does no harm. For the same
            reason who finds the open claim of another body (`Claimed`) is to publish that, before saying that the id is
            taken by it; the claim holds for as long again. The same goes for a key; who then wants to replace the call
            that has it notes that, and claims again.
        """

    @abstractmethod
    async def strike(self, envelopes: Sequence[Envelope]) -> None:
        """Take back claims that are open, with their keys: the transport has refused the messages."""

    @abstractmethod
    async def holder(self, name: str, queues: Sequence[str], *, lease: float) -> Holder:
        """Become a member of the consumers of these queues, under a lease of so many seconds."""

    @abstractmethod
    async def withdraw(self, id: str, queue: str, outcome: Outcome, *, even_running: bool = False) -> bool:
        """End a call that waits, as `Transport.withdraw` does; its copies are not wanted any more.

        A claim is no call yet, and what was not noted is none either, wherever its message is: a transport first awaits
        those of its own notes that are under way.
        """

    @abstractmethod
    async def reschedule(
        self, id: str, queue: str, read: bytes, body: bytes, due_ms: int, *, priority: int, expires_ms: int = 0
    ) -> Copy | None:
        """Give a call that waits another body and another time, as `Transport.reschedule` does.

        Returns:
            What it has become: to be published, and `placed`. None: it is not there, or not as it was read, or lent.
        """

    @abstractmethod
    async def unique_keys(self, prefix: str, *, limit: int) -> Sequence[KeyOwner]:
        """Return keys that are taken, as `Transport.unique_keys` does; of an open claim until when that holds."""

    @abstractmethod
    async def clear_unique(self, key: str) -> bool:
        """Give back a key, as `Transport.clear_unique` does."""

    @abstractmethod
    async def release(self, names: Sequence[str]) -> int:
        """Reclaim at once what these consumers hold, whose process is known to be dead, as `Transport.release` does."""

    @abstractmethod
    async def orphans(self, limit: int) -> Sequence[Copy]:
        """Return messages that were reclaimed, reopened, or given another body or time, and not `placed` since.

        The oldest come first.

        The transport may have no copy that it would deliver: they are to be published again as they are.
        """

    @abstractmethod
    async def placed(self, copies: Sequence[Copy]) -> None:
        """Forget that these were orphans: they were published again. What was sent on since is left as it is."""

    @abstractmethod
    async def reopen(self, revivals: Sequence[Revival]) -> Sequence[int | None]:
        """Let calls run again whose letters the transport is about to publish, as `Transport.revive` does.

        Until they were published, and `placed`, they are orphans: who dies in between leaves nobody waiting. Safe to
        repeat until the call runs, also with another body. Whether the letter is there is for the transport to say.

        Returns:
            For each the generation to publish it with, that of its next life; None: its id, or its unique key, belongs
            to another call (`Revived.TAKEN`).
        """

    @abstractmethod
    async def running(self, queues: Sequence[str]) -> Sequence[int]:
        """Return how many calls of each queue are lent."""

    @abstractmethod
    async def scheduled(self, queues: Sequence[str]) -> Sequence[int]:
        """Return how many calls of each queue are known to be due later."""

    @abstractmethod
    async def parked(self, queues: Sequence[str]) -> Sequence[int]:
        """Return how many calls of each queue wait in lines."""

    def limits(self) -> LimitOffice:
        """Return where limits are declared and changed. Raises NotSupported where there are none."""
        raise NotSupported("This ledger keeps no limits.")

    @abstractmethod
    async def known_queues(self) -> Sequence[str]:
        """Return the queues that were ever noted, as far as is remembered, in alphabetical order."""

    def timetable(self) -> Timetable:
        """Return what remembers schedules. It is given changes without calls: the transport publishes those.

        Raises:
            NotSupported: nothing does.
        """
        raise NotSupported("This ledger remembers no schedules.")

    @abstractmethod
    async def members(self) -> Sequence[Member]:
        """Return the consumers, in alphabetical order."""


LIFE: Final = 1 << 20
"""How many generations a life has: the first one of each is a multiple of it."""

TOMBSTONE_MS: Final = 3_600_000
"""How long an end is remembered at the least."""

WITHDRAWN_MS: Final = 24 * 3_600_000
"""How long an end that came from outside is remembered at the least, after the call was due: it may stand in line."""


PARKED_MS: Final = 3_600_000
"""How long a copy of a call that is parked may be away at the most."""

AFTER_PARKING_MS: Final = PARKED_MS + TOMBSTONE_MS
"""How long an end of a call is remembered at the least, after it was last parked."""

PUT_OFF_MS: Final = 1_000
"""After so long a line is asked for again in which nobody stands but suspects, by somebody who may take none."""


def next_attempt(generation: int) -> int:
    """Return the generation of what a call is sent on as.

    After a million attempts that is the first one of the next life, with no harm but that the end of the attempt before
    does not keep it from running.
    """
    return generation + 1


def next_life(last: int | None) -> int:
    """Return the first generation that is wanted of an id whose last call has ended in this one; None: it had none."""
    return 0 if last is None else (last // LIFE + 1) * LIFE


def remembered_ms(outcome: Outcome, *, withdrawn_ms: int | None = None) -> int:
    """Return for how many ms an end is remembered at the least.

    Args:
        outcome: how it ended.
        withdrawn_ms: for how many ms more it would have waited to be due, of a call that was withdrawn.
    """
    kept_ms = 0 if outcome.record is None else outcome.ttl_ms
    return max(kept_ms, TOMBSTONE_MS if withdrawn_ms is None else max(withdrawn_ms, 0) + WITHDRAWN_MS)


def without_transport(settlement: Settlement) -> Settlement:
    """Return a settlement without what the transport does of it: letters, and what follows."""
    match settlement:
        case Done(delivery, outcome) | Dead(delivery, outcome):
            return Done(delivery, outcome)
        case _:
            return settlement
