"""The counts: how many messages of a queue stand where."""

from typing import NamedTuple


class Counts(NamedTuple):
    """How many messages of one queue stand where; of `scheduled` and `running`, see `Capabilities.counts_running`.

    Attributes:
        ready: may be fetched now.
        scheduled: become due later (delays and retries).
        running: are lent to a consumer.
        dead: are among the dead letters.
        waiting: are ready but for a limit, and stand in its line.
    """

    ready: int
    scheduled: int
    running: int
    dead: int
    waiting: int = 0
