"""The transport contract: what moves messages from those who publish to those who run them.

A transport knows bytes and the few facts that route them; it never looks into a message. A new one is one package
that passes `asyncq.testing.conformance`. The values here are named tuples because the hot path makes several for every
task, and a tuple is the cheapest immutable thing there is.

Every verb raises `BrokerUnavailable` when the server does not answer within the transport's own deadlines, never a
client library's exception. All times are milliseconds since 1970 by the server's clock (`Transport.now_ms`).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import NamedTuple, TypeAlias

from asyncq.errors import PublishRefused

SUSPECT_CRASHES = 2
"""Crashes on a message's count from which on it is a suspect, to be run one at a time.

The first may be an accident, or some other message's doing: what a killed worker held runs again as it did before. What
was there the second time is tried one by one, so that the third death shows whose fault it is.
"""


class Departure(StrEnum):
    """How a membership ends. LEFT counts no crash, DIED is certain, SILENT (past its lease) may be cut off only."""

    LEFT = "left"
    DIED = "died"
    SILENT = "silent"


class Envelope(NamedTuple):
    """A message, ready to be moved.

    Attributes:
        id: unique in the transport while the message is there or a result is kept under it.
        queue: a valid queue name.
        body: the encoded message.
        priority: 0-9; larger is fetched first, equal ones in the order in which they were published.
        due_ms: not to be fetched before; 0 or past: at once.
        is_fresh: the id was made for this one publish and can't be known to anybody: nothing to look up.
    """

    id: str
    queue: str
    body: bytes
    priority: int = 0
    due_ms: int = 0
    is_fresh: bool = False


class Taken(NamedTuple):
    """The id was there already, so nothing was published. One of the two is set.

    Attributes:
        body: the message that has the id, while its task has not ended.
        record: the result that is kept under the id.
    """

    body: bytes | None
    record: bytes | None


Receipt: TypeAlias = Taken | PublishRefused | None
"""What became of one envelope: None means that it was published."""


class Delivery(NamedTuple):
    """A message, lent to a consumer until it settles it.

    Attributes:
        id, queue, body, priority: as published (or as `Again` changed them).
        token: names this one delivery among all of its consumer's; a settlement with an outdated token takes no effect.
        crashes: how often a consumer died while it held this message. From SUSPECT_CRASHES on it is a suspect.
        is_doubtful: some of these crashes may be taken back (`Consumer.absolve`).
    """

    id: str
    queue: str
    body: bytes
    priority: int
    token: str
    crashes: int
    is_doubtful: bool = False


class Outcome(NamedTuple):
    """What is kept of a call that has ended.

    Attributes:
        record: its encoded result; None: nothing is kept, and who waits is told that it is gone.
        ttl_ms: how long the record is kept.
        reply: address of the process to tell; empty: only those who watch the id are told.
    """

    record: bytes | None
    ttl_ms: int = 0
    reply: str = ""


class Done(NamedTuple):
    """The task has ended: acknowledge, keep the outcome, wake who waits, publish what follows; all or nothing.

    Attributes:
        then: published in the same step; one whose id is taken already is passed over. They are part of the
            settlement: where it takes no effect, nothing is published.
    """

    delivery: Delivery
    outcome: Outcome
    then: Sequence[Envelope] = ()


class Again(NamedTuple):
    """The next attempt: acknowledge, and schedule `body` in its place under the same id."""

    delivery: Delivery
    body: bytes
    due_ms: int


class Return(NamedTuple):
    """Hand back unharmed, in its old place: ahead of all that was published later with the same priority.

    Attributes:
        is_crash: what ran it has died of it, though this consumer lives: one more crash on its count.
    """

    delivery: Delivery
    is_crash: bool = False


class Dead(NamedTuple):
    """No further attempt: acknowledge, keep the message among the dead letters, and keep the outcome as `Done` does.

    Attributes:
        reason: why, in one sentence.
        letter_ttl_ms: how long the letter is kept.
        then: as in `Done`.
        record: the final result, for the letter, of a call whose outcome keeps none.
    """

    delivery: Delivery
    outcome: Outcome
    reason: str
    letter_ttl_ms: int
    then: Sequence[Envelope] = ()
    record: bytes | None = None

    @property
    def letter_record(self) -> bytes | None:
        """What the letter keeps: the outcome's record, so that it is sent and stored once, or else its own."""
        return self.record if self.outcome.record is None else self.outcome.record


Settlement: TypeAlias = Done | Again | Return | Dead
"""`Again` with the unchanged body is a postponement: it uses no attempt."""


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
    """

    letter: DeadLetter
    body: bytes
    priority: int = 0


class Revived(Enum):
    """What became of a `Revival`."""

    DONE = "done"
    GONE = "gone"
    """There is no such letter any more: somebody else was faster, or its message has died once more since."""
    TAKEN = "taken"
    """Its id belongs to another call that has not ended, or whose result is kept: the letter stays."""


class Counts(NamedTuple):
    """How many messages of one queue stand where.

    Attributes:
        ready: may be fetched now.
        scheduled: become due later (delays and retries).
        running: are lent to a consumer.
        dead: are among the dead letters.
    """

    ready: int
    scheduled: int
    running: int
    dead: int


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


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a transport can do.

    Attributes:
        is_shared: other processes reach the same messages, so a worker may be one of them.
    """

    is_shared: bool


class Lease(ABC):
    """A consumer's lease, in the hands of one thread that is never the event loop's.

    All methods block, for no longer than the transport's command timeout.
    """

    @abstractmethod
    def renew(self, about: bytes | None = None) -> bool:
        """Prolong the lease by its full length from now, by the server's clock.

        A lease that ran out is renewed all the same, as long as nobody reclaimed it.

        Args:
            about: what the consumer has to tell of itself, for `Transport.members`; None: as before.

        Returns:
            Whether the consumer is still a member. False: it was reclaimed or forgotten, its deliveries are no longer
            its own, and it must go on under a new name.
        """

    @abstractmethod
    def next_end(self) -> float | None:
        """Return the seconds until the earliest lease of another consumer runs out unless it is renewed.

        0 or less: it has run out. None: there is no other consumer.
        """

    @abstractmethod
    def reclaim(self) -> Mapping[str, int]:
        """Take over what consumers hold whose lease has run out, and end their membership.

        The messages keep their place, as `Return` does, with one more crash on their count, in the name of the
        consumer (`Consumer.absolve`). Atomic for each consumer and queue, and safe to repeat or to race with other
        reclaimers.

        Returns:
            The number of messages by name of the consumer.
        """

    @abstractmethod
    def close(self) -> None:
        """Release the thread's own resources. The lease stays as it is."""


class Consumer(ABC):
    """One member of the consumers of some queues. It belongs to one event loop.

    Attributes:
        name: unique for ever.
    """

    name: str

    @property
    @abstractmethod
    def answered_at(self) -> float:
        """When the server last answered this consumer's fetching, by `time.monotonic()`.

        While a fetch waits for messages it moves on at least every 20 seconds, as long as the server answers.
        """

    @abstractmethod
    async def run(self, severed: Callable[[Sequence[str]], None]) -> None:
        """Do the upkeep that consuming needs (due times, wake-ups) until cancelled, in the worker's task group.

        Args:
            severed: called on the loop with the tokens of deliveries whose calls were withdrawn while this consumer
                held them (`Transport.withdraw`): nobody wants them run any more. Pushed; after an outage it is made up
                for. May name a delivery more than once, and one that the consumer does not hold any more.
        """

    @abstractmethod
    async def fetch(
        self, limits: Mapping[str, int], count: int, *, wait: bool = True, suspects: int = 1
    ) -> Sequence[Delivery]:
        """Take up to `count` messages that are ready, and no more than `limits` allows of each queue.

        Queues take turns: their order in `limits` is the order in which they are asked. Within a queue, larger
        priorities first, then handed-back ones, then in order of publishing. One call at a time.

        Args:
            limits: how many of each queue may be taken; queues with 0 are passed over.
            count: how many in all, 1 or more.
            wait: when nothing is ready, wait until something is, or `interrupt` is called.
            suspects: how many messages with SUSPECT_CRASHES on their count may be among them, over all queues. Those
                beyond stay in their place for others, and are passed over: what stands behind them is not held up.

        Returns:
            The deliveries, in the order in which they should start; empty when nothing was ready and `wait` is False,
            after `interrupt`, or now and then for the transport's own reasons: call again.

        Raises:
            LeaseLost: this consumer is no member any more.
        """

    @abstractmethod
    async def interrupt(self) -> None:
        """Make a waiting `fetch` return soon, with what it has. Cancelling `fetch` is the rough way."""

    @abstractmethod
    async def settle(self, settlements: Sequence[Settlement]) -> Sequence[bool]:
        """End deliveries, in order, each in one atomic step. Safe to send again when the reply was lost.

        Works while the server refuses to store more (memory or disk full) wherever the server can.

        Returns:
            For each whether it took effect. False: the delivery is no longer this consumer's (reclaimed, handed back,
            or settled before).
        """

    @abstractmethod
    async def absolve(self) -> None:
        """Take back the crashes that were counted in its name when this consumer was taken for dead: it was not.

        For a consumer that learns that it was reclaimed, however much later. It includes what a fetch had been lent
        whose answer was lost. What the deaths of others have counted, before or since, stays, as does what has ended
        meanwhile. Safe to repeat.
        """

    @abstractmethod
    def lease(self) -> Lease:
        """Return this consumer's lease, to be used from one other thread."""

    @abstractmethod
    async def leave(self) -> int:
        """Hand back, as `Return` does, whatever is still held, and end the membership. Returns how many it was."""


class Transport(ABC):
    """A way to move messages. Opened and closed by the broker on one event loop; a new loop gets a new transport."""

    capabilities: Capabilities

    @abstractmethod
    async def open(self) -> None:
        """Connect, or raise BrokerUnavailable with what was tried."""

    @abstractmethod
    async def close(self) -> None:
        """Disconnect. Consumers are left as they are."""

    @abstractmethod
    def now_ms(self) -> int:
        """Return the time by the server's clock, as well as it is known here."""

    @abstractmethod
    async def publish(self, envelopes: Sequence[Envelope]) -> Sequence[Receipt]:
        """Store the messages, in order; return once the server has them as safe as it keeps anything.

        Each is published or not by itself; all go in few round trips. Publishing one a second time finds itself.

        Returns:
            A receipt for each: None, `Taken`, or a `PublishRefused` (not raised).

        Raises:
            BrokerUnavailable: the outcome of all of them is unknown; publish the same again.
        """

    @abstractmethod
    async def consumer(self, name: str, queues: Sequence[str], *, lease: float) -> Consumer:
        """Become a member of the consumers of these queues, under a lease of so many seconds."""

    @abstractmethod
    async def withdraw(self, id: str, queue: str, outcome: Outcome, *, even_running: bool = False) -> bool:
        """End a call that waits to be fetched, and keep the outcome as `Done` does.

        Args:
            id: the call's.
            queue: where it is.
            outcome: how it ends.
            even_running: also when it is lent to a consumer, which cannot settle it any more and is told (`severed`).

        Returns:
            Whether it was there, and might be ended; False leaves everything as it is.
        """

    @abstractmethod
    async def release(self, names: Sequence[str]) -> int:
        """Reclaim at once what these consumers hold, whose process is known to be dead. Returns how many messages.

        Their crashes are certain: none of them can be taken back.
        """

    @abstractmethod
    async def counts(self, queues: Sequence[str]) -> Sequence[Counts]:
        """Return the counts of each queue; all zero for one that was never used."""

    @abstractmethod
    async def first_in_line(self, queues: Sequence[str]) -> Sequence[Sequence[bytes]]:
        """Return of each queue the bodies of those that have been ready for longest: one at least of each priority.

        Costs the server no more when a million wait.
        """

    @abstractmethod
    async def known_queues(self) -> Sequence[str]:
        """Return the queues that were ever published to, as far as is remembered, in alphabetical order."""

    @abstractmethod
    async def members(self) -> Sequence[Member]:
        """Return the consumers, in alphabetical order."""

    @abstractmethod
    async def dead_letters(self, queue: str, *, limit: int = 100, before: int | None = None) -> Sequence[DeadLetter]:
        """Return the newest dead letters of a queue, newest first.

        Args:
            queue: its name.
            limit: how many at most.
            before: only those that died before the one with this `DeadLetter.place`: the next page.
        """

    @abstractmethod
    async def find_letters(self, queue: str, ids: Sequence[str]) -> Sequence[DeadLetter | None]:
        """Return the dead letter of each id; None: the queue has none."""

    @abstractmethod
    async def drop_letters(self, letters: Sequence[DeadLetter]) -> Sequence[bool]:
        """Forget dead letters of one queue. Returns for each whether it was still there."""

    @abstractmethod
    async def revive(self, revivals: Sequence[Revival]) -> Sequence[Revived]:
        """Let dead letters of one queue run again: each in one atomic step.

        The letter goes, and so does the result that its death has left, so that the id is the new run's; the message
        becomes ready behind all that are, with no crash on its count, however long the queue may be.
        """
