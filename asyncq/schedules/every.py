"""Every so many seconds."""

from dataclasses import dataclass
from datetime import datetime

from asyncq.schedules.instants import EPOCH, instant_at, ms_of
from asyncq.schedules.schedule import Recurring, is_seconds


@dataclass(frozen=True, slots=True, repr=False)
class Every(Recurring):
    """A tick every `seconds`, of elapsed time: no clock change moves them.

    They are counted from `start`, which is the first, or else from 1970-01-01 00:00 UTC. So everybody who has the same
    schedule has the same ticks, and a restart moves none: `Every(30)` ticks at :00 and :30.

    Attributes:
        seconds: 1 or more, to the millisecond. Below a second, loop in a task.
    """

    seconds: float

    def _prepare(self) -> None:
        if not is_seconds(self.seconds, 1):
            raise self.error(f"seconds is a number of seconds, 1 or more; got {self.seconds!r}.")

    def _tick_after(self, instant: datetime) -> datetime | None:
        step_ms = round(self.seconds * 1000)
        first_ms = ms_of(self.start or EPOCH)
        steps = (ms_of(instant) - first_ms) // step_ms + 1
        return instant_at(first_ms + steps * step_ms)
