"""The loans: what a ledger has lent to a consumer, with the delivery that stands for it on the server."""

from asyncq.rabbitmq.deliveries import Arrival
from asyncq.rabbitmq.wire import Facts, generation_of

FIRST_ROUND_MS, LONGEST_ROUND_MS = 20, 600_000
"""Bounds of how long a copy is away that is sent round."""


class Loan:
    """A call that runs here.

    Attributes:
        arrival: how it came.
        died_us: when its letter says that it died; 0: it has none.
        has_followed: what follows from its end is published.
        is_doubtful: the ledger was told of its end and did not answer.
        is_released: the server has no delivery any more that stands for it.
    """

    __slots__ = ("arrival", "died_us", "has_followed", "is_doubtful", "is_released")

    def __init__(self, arrival: Arrival) -> None:
        self.arrival = arrival
        self.died_us = 0
        self.has_followed = False
        self.is_doubtful = False
        self.is_released = False

    @property
    def facts(self) -> Facts:
        """What a copy of it says."""
        return Facts(generation=generation_of(self.arrival))

    def release(self) -> None:
        """Acknowledge the delivery, once."""
        if not self.is_released:
            self.is_released = True
            self.arrival.acknowledge()


def round_ms(rest_ms: int, rounds: int, *, longest_ms: int = LONGEST_ROUND_MS) -> int:
    """Return for how long a copy is sent round: for longer each time.

    Args:
        rest_ms: for how long it is sure to be of no use.
        rounds: how often it was sent before.
        longest_ms: the bound.
    """
    return min(max(rest_ms, FIRST_ROUND_MS) << min(rounds, 20), longest_ms)
