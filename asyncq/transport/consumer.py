"""The consumer: what a worker fetches with, and settles."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence

from asyncq.transport.delivery import Delivery
from asyncq.transport.lease import Lease
from asyncq.transport.settlement import Settlement


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

        Groups (`Terms.group`) take turns: each that has something ready has a lane, and so have all calls without a
        group together. A lane is served and goes to the end, where a new one joins. In the lane of a group, what was
        handed back comes first, then what has waited for longest: a step of priority counts for `PRIORITY_STEP_MS`.

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
        meanwhile. Safe to repeat. Without a memory nobody is taken for dead wrongly: it does nothing.
        """

    @abstractmethod
    def lease(self) -> Lease:
        """Return this consumer's lease, to be used from one other thread; without a memory `NoLease`."""

    @abstractmethod
    async def leave(self) -> int:
        """Hand back, as `Return` does, whatever is still held, and end the membership. Returns how many it was."""
