"""The ladder's arithmetic: in which queues a message waits to come out after so many milliseconds.

A delay is rounded up to a multiple of 16 ms and written in base 4. Each digit is a level of the ladder, which has a
queue for each value but 0: for a 3 in the second level, one in which messages wait 3 * 4 * 16 ms. The routing key
begins with the digits, the highest level first; where one is 0, the message goes past. It enters at its highest digit,
so that nothing above that has to exist.

In a queue all messages wait for the same time, so none waits behind one that is due later. But of a quorum queue,
RabbitMQ 4.0 to 4.2 looks first at what is urgent to it, also when others have waited for longer: these would come hours
late, or never while urgent ones go on coming. So urgent ones have a ladder of their own.

Why base 4: each wait costs the server up to a millisecond of CPU; each queue some memory, some milliseconds when it is
first declared, and time when a node that was killed starts again. A delay of seconds is four waits, and there are 18
queues for all such delays; it would be five and eleven in base 2, three and 45 in base 16.

What has come out and is sent in again must leave its header `x-death` behind: where a message expires for the second
time in the same queue, the server takes that for a cycle and keeps it there for ever.
"""

from typing import NamedTuple

STEP_MS = 16
LEVELS = 14
LONGEST_MS = STEP_MS * (4**LEVELS - 1)
"""49.7 days. The server's longest time to live is 2**32 - 1 ms."""
URGENT = 5
"""The priority, to the server, from which on a message is urgent in a quorum queue of RabbitMQ 4.0."""

VALUES = range(1, 4)
"""What a digit can be, but for 0."""


class Rung(NamedTuple):
    """A queue of the ladder.

    Attributes:
        level: 0 is the lowest.
        value: of the digit there, 1 to 3.
        is_urgent: it is one of the ladder for what is urgent.
    """

    level: int
    value: int
    is_urgent: bool = False

    @property
    def wait_ms(self) -> int:
        """How long a message waits in it."""
        return self.value * unit_ms(self.level)


class Route(NamedTuple):
    """A way through the ladder.

    Attributes:
        steps: how many times 16 ms it takes, 1 or more.
        is_urgent: through which of the two.
    """

    steps: int
    is_urgent: bool = False

    @property
    def level(self) -> int:
        """The level at which it begins."""
        return (self.steps.bit_length() - 1) // 2

    @property
    def rungs(self) -> list[Rung]:
        """The queues that it goes through, in order."""
        digits = ((level, self.steps >> 2 * level & 3) for level in range(self.level, -1, -1))
        return [Rung(level, value, self.is_urgent) for level, value in digits if value]

    def key(self, queue: str) -> str:
        """Return the routing key to a queue."""
        digits = (str(self.steps >> 2 * level & 3) for level in range(LEVELS - 1, -1, -1))
        return f"{'.'.join(digits)}.{queue}"


def unit_ms(level: int) -> int:
    """Return what a digit counts."""
    return STEP_MS << 2 * level


def route(delay_ms: int, *, is_urgent: bool = False) -> Route:
    """Return the way for a delay of 1 ms or more: it takes that long, and less than 16 ms longer.

    What is to be delayed for longer than the ladder is long comes out after `LONGEST_MS`, and has to be sent again.
    ValueError: what is due now does not go through the ladder.
    """
    if delay_ms < 1:
        raise ValueError(f"The ladder delays by 1 ms or more; got {delay_ms!r}.")
    return Route(-(-min(delay_ms, LONGEST_MS) // STEP_MS), is_urgent)


def rungs_up_to(level: int, *, is_urgent: bool = False) -> list[Rung]:
    """Return all rungs of the levels up to one."""
    return [Rung(each, value, is_urgent) for each in range(level + 1) for value in VALUES]


def pattern(level: int, value: int) -> str:
    """Return the binding key of what has this digit at a level."""
    return f"{'*.' * (LEVELS - 1 - level)}{value}.#"


def due_pattern(queue: str) -> str:
    """Return the binding key of what has left the ladder for a queue.

    Not "#." and the name: that of a queue `b` would match what is for a queue `a.b`, too.
    """
    return f"{'*.' * LEVELS}{queue}"
