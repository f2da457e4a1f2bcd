"""The walk along a cron's ticks: cronsim's, mended where clocks change at midnight or by half an hour."""

from datetime import UTC
from typing import Final

from cronsim import CronSim

QUARTER: Final = 900
"""Seconds. Where clocks change, they do so at a multiple of it, and by one."""


class CronWalk(CronSim):
    """Yields the ticks of five fields after a time, in that one's time zone.

    cronsim 2.8 goes to a day by its midnight. Where there is none, because that is when the clocks go forward (Cairo,
    Santiago, Havana), it would miss the hour which begins the day. It goes from hour to hour by 3,600 s, and would
    miss half an hour on Lord Howe Island.
    """

    def advance_month(self) -> None:
        super().advance_month()
        self._leave_gap()

    def advance_day(self) -> bool:
        is_moved = super().advance_day()
        self._leave_gap()
        return is_moved

    def advance_hour(self) -> bool:
        if self.dt.hour in self.hours:
            return False
        self.dt = self.dt.replace(minute=0, second=0)
        while self.dt.hour not in self.hours:
            self.tick(QUARTER)
            if self.dt.hour == self.dt.minute == 0:
                break  # another day, to be checked
        return True

    def _leave_gap(self) -> None:
        """Go from a time that a clock on the wall does not show to the one that it does instead."""
        if self.dt.tzinfo not in (None, UTC):
            self.dt = self.dt.astimezone(UTC).astimezone(self.dt.tzinfo)
