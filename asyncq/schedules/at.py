"""Once, at a time."""

from dataclasses import dataclass
from datetime import datetime

from asyncq.schedules.instants import aware, instant_of
from asyncq.schedules.schedule import Schedule


@dataclass(frozen=True, slots=True, repr=False)
class At(Schedule):
    """One tick. It needs no start, end or count.

    Attributes:
        when: an aware datetime.
    """

    when: datetime

    def __post_init__(self) -> None:
        super(At, self).__post_init__()
        object.__setattr__(self, "when", instant_of(self.when, "At: when"))

    def next_after(self, instant: datetime) -> datetime | None:
        return self.when if aware(instant) < self.when else None
