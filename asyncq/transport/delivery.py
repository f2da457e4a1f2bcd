"""The delivery: a message, lent to who runs it."""

from typing import NamedTuple

SUSPECT_CRASHES = 2
"""Crashes on a message's count from which on it is a suspect, to be run one at a time.

The first may be an accident, or some other message's doing: what a killed worker held runs again as it did before. What
was there the second time is tried one by one, so that the third death shows whose fault it is.
"""


class Delivery(NamedTuple):
    """A message, lent to a consumer until it settles it.

    Attributes:
        id, queue, body, priority: as published (or as `Again` changed them).
        token: names this one delivery among all of its consumer's; a settlement with an outdated token takes no effect.
        crashes: how often a consumer died while it held this message. From SUSPECT_CRASHES on it is a suspect.
        is_doubtful: some of these crashes may be taken back (`Consumer.absolve`).
        has_terms: it was lent because its rates and slots were granted; a slot is held until it is settled.
    """

    id: str
    queue: str
    body: bytes
    priority: int
    token: str
    crashes: int
    is_doubtful: bool = False
    has_terms: bool = False
