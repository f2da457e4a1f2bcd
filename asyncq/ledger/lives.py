"""Lives: how generations are counted, and for how long ends are remembered."""

from typing import Final

from asyncq.transport import Dead, Done, Outcome, Settlement

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
