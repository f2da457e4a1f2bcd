"""The numbers of a limit, and what it is known by."""

from enum import StrEnum
from typing import NamedTuple


class Kind(StrEnum):
    """RATE: grants in a time. SLOTS: holders at once."""

    RATE = "rate"
    SLOTS = "slots"


class LimitId(NamedTuple):
    """What a limit is known by: a rate limit and a concurrency limit may have one name."""

    kind: Kind
    name: str

    @property
    def text(self) -> str:
        """As it stands in keys: neither part has a space."""
        return f"{self.kind} {self.name}"


class Numbers(NamedTuple):
    """How much a limit allows.

    Attributes:
        limit: grants in any window of `per_ms`, or holders at once; 1 or more.
        per_ms: the window; 0: it is a concurrency limit.
        burst: how many of the grants may come at once; 0: all.
    """

    limit: int
    per_ms: int = 0
    burst: int = 0


def shown_limit(id: LimitId, numbers: Numbers) -> str:
    """Return how a limit is told to people: `rate limit 'stripe' (100 in 60 s)`."""
    if id.kind is Kind.SLOTS:
        return f"concurrency limit {id.name!r} ({numbers.limit} at once)"
    burst = f", {numbers.burst} at once" if numbers.burst else ""
    return f"rate limit {id.name!r} ({numbers.limit:,} in {numbers.per_ms / 1000:g} s{burst})"
