"""The loans: what a ledger has lent to a consumer, with the delivery that stands for it on the server."""

from asyncq.ledger import PARKED_MS, Copy
from asyncq.rabbitmq.deliveries import Arrival
from asyncq.rabbitmq.wire import Facts, facts_of

FIRST_ROUND_MS, LONGEST_ROUND_MS = 20, 600_000
"""Bounds of how long a copy is away that is sent round."""

PARKED_ROUND_MS = 60_000
"""How long a copy of a parked call is away at first: most are granted what they need by then, and it is no use."""


class Loan:
    """A call that runs here.

    Attributes:
        copy: what it is.
        arrival: how it came; None: it was lent from its line, and the server has a copy that comes again.
        died_us: when its letter says that it died; 0: it has none.
        has_followed: what follows from its end is published.
        is_doubtful: the ledger was told of its end and did not answer.
        is_released: the server has no delivery any more that stands for it.
    """

    __slots__ = ("arrival", "copy", "died_us", "has_followed", "is_doubtful", "is_released")

    def __init__(self, copy: Copy, arrival: Arrival | None) -> None:
        self.copy = copy
        self.arrival = arrival
        self.died_us = 0
        self.has_followed = False
        self.is_doubtful = False
        self.is_released = arrival is None

    @property
    def facts(self) -> Facts:
        """What a copy of it says."""
        return facts_of(self.copy)

    def release(self) -> None:
        """Acknowledge the delivery, once."""
        if not self.is_released and self.arrival is not None:
            self.is_released = True
            self.arrival.acknowledge()


def round_ms(rest_ms: int, rounds: int, *, longest_ms: int) -> int:
    """Return for how long a copy is sent round: for longer each time.

    Args:
        rest_ms: for how long it is sure to be of no use.
        rounds: how often it was sent before.
        longest_ms: the bound.
    """
    return min(max(rest_ms, FIRST_ROUND_MS) << min(rounds, 20), longest_ms)


def held_ms(lease_ms: int, rounds: int) -> int:
    """Return for how long a copy of a call is sent round that somebody has, whose lease lasts for so long."""
    return round_ms(lease_ms, rounds, longest_ms=LONGEST_ROUND_MS)


def parked_ms(rounds: int) -> int:
    """Return for how long a copy of a parked call is sent round."""
    return round_ms(PARKED_ROUND_MS, rounds, longest_ms=PARKED_MS)
