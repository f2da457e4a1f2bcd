"""The lease: for how long a consumer is taken to live, and who takes over when it is over."""

from abc import ABC, abstractmethod
from collections.abc import Mapping


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


class NoLease(Lease):
    """The lease of a consumer that needs none, because the server itself sees its death: there is nothing to renew."""

    def renew(self, about: bytes | None = None) -> bool:
        return True

    def next_end(self) -> float | None:
        return None

    def reclaim(self) -> Mapping[str, int]:
        return {}

    def close(self) -> None:
        """Do nothing: there is nothing to release."""
