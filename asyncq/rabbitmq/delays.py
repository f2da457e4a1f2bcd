"""The ladder's arithmetic: through which levels a message goes to come out after so many milliseconds.

A delay is rounded up to a multiple of the lowest level and written in binary. The routing key begins with its bits, the
highest level first. Where a bit is 1, the message waits in the queue of that level, 2**level ms; where it is 0, it goes
past. It enters at its highest 1, so that no level above that has to exist.

In a queue all messages wait for the same time, so none waits behind one that is due later.

What has come out and is sent in again must leave its header `x-death` behind: where a message expires for the second
time in the same queue, the server takes that for a cycle and keeps it there for ever.
"""

from typing import NamedTuple

LOWEST, HIGHEST = 4, 31
STEP_MS = 1 << LOWEST
LONGEST_MS = (1 << HIGHEST + 1) - STEP_MS
"""49.7 days. The server's longest time to live is 2**32 - 1 ms."""

_LEVELS = HIGHEST - LOWEST + 1


class Route(NamedTuple):
    """A way through the ladder.

    Attributes:
        level: where it begins.
        bits: a word for each level, from the highest to the lowest: "1" is waited in, "0" is gone past.
    """

    level: int
    bits: str

    def key(self, queue: str) -> str:
        """Return the routing key to a queue."""
        return f"{self.bits}.{queue}"

    @property
    def delay_ms(self) -> int:
        """How long it takes."""
        return int(self.bits.replace(".", ""), 2) * STEP_MS


def route(delay_ms: int) -> Route:
    """Return the way for a delay of 1 ms or more: it takes that long, and less than 16 ms longer.

    What is to be delayed for longer than the ladder is long comes out after `LONGEST_MS`, and has to be sent again.
    ValueError: what is due now does not go through the ladder.
    """
    if delay_ms < 1:
        raise ValueError(f"The ladder delays by 1 ms or more; got {delay_ms!r}.")
    steps = -(-min(delay_ms, LONGEST_MS) // STEP_MS)
    return Route(steps.bit_length() - 1 + LOWEST, ".".join(f"{steps:0{_LEVELS}b}"))


def pattern(level: int, bit: int) -> str:
    """Return the binding key of what has this bit at a level."""
    return f"{'*.' * (HIGHEST - level)}{bit}.#"


def due_pattern(queue: str) -> str:
    """Return the binding key of what has left the ladder for a queue.

    Not "#." and the name: that of a queue `b` would match what is for a queue `a.b`, too.
    """
    return f"{'*.' * _LEVELS}{queue}"
