"""The timetable contract: what remembers schedules, and moves one on in the step that publishes its calls.

What a schedule says is a record that only its owners read; the timetable knows its name, and when it is next due. Any
number of schedulers look at one timetable. Each sends what it would do, and only the first of them finds the record as
it was read: nobody leads, and nothing is lost with a scheduler.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from enum import Enum
from typing import NamedTuple, TypeAlias

from asyncq.errors import PublishRefused
from asyncq.transport.envelope import Envelope


class Entry(NamedTuple):
    """A schedule, as it is kept.

    Attributes:
        name: unique in the namespace.
        record: what it says, and how it stands.
        next_ms: when it is next due, in ms since 1970; None: it is not.
    """

    name: str
    record: bytes
    next_ms: int | None


class Change(NamedTuple):
    """What is to become of a schedule, where it is still as it was read.

    Attributes:
        name: the schedule's.
        seen: its record as it was read; None: there was none.
        record: what it becomes; None: it goes. It differs from `seen`.
        next_ms: when it is next due then; None: it is not.
        envelopes: published in the same step, in one queue, at most MAX_CALLS; one whose id is taken is passed over.
    """

    name: str
    seen: bytes | None
    record: bytes | None
    next_ms: int | None = None
    envelopes: Sequence[Envelope] = ()


class Changed(Enum):
    """What became of a change."""

    DONE = "done"
    ALREADY = "already"
    """The record is what it was to become: by somebody else, or by the same change, whose reply was lost."""
    STALE = "stale"
    """The record is another one by now; nothing changed."""


Answer: TypeAlias = Changed | PublishRefused
"""PublishRefused (not raised): there is no room for the calls, and nothing changed."""

MAX_CALLS = 500
"""Calls that one change may publish."""


class Timetable(ABC):
    """The schedules of one namespace. It lives as long as the transport that it belongs to is open."""

    @abstractmethod
    def now_ms(self) -> int:
        """Return the time by the server's clock, as well as it is known here."""

    @abstractmethod
    async def first(self, limit: int) -> Sequence[Entry]:
        """Return the schedules that are due first, earliest first; those that are not due at all are left out."""

    @abstractmethod
    async def find(self, names: Sequence[str]) -> Sequence[Entry | None]:
        """Return the schedule of each name; None: there is none."""

    @abstractmethod
    async def entries(self) -> Sequence[Entry]:
        """Return all schedules, in alphabetical order."""

    @abstractmethod
    async def change(self, changes: Sequence[Change]) -> Sequence[Answer]:
        """Make changes in few round trips, each in one atomic step: the record, its time and its calls, or nothing.

        Where messages and records are kept apart, calls are published before the record moves on: a crash between them
        publishes them again, under the same ids.

        Raises:
            BrokerUnavailable: the outcome of all of them is unknown; send the same again.
        """

    @abstractmethod
    async def declare(self, names: Sequence[str], *, until_ms: int, lapsed_ms: int | None) -> Sequence[str]:
        """Say that the code of a living scheduler declares these schedules; also before they are kept.

        Args:
            names: of the schedules.
            until_ms: until when that holds, unless it is said again.
            lapsed_ms: in the same step, forget every schedule that some code has declared until then at the latest, and
                none since; None: forget nothing.

        Returns:
            The names that are no schedules.
        """

    @abstractmethod
    async def watch(self, changed: Callable[[], None]) -> None:
        """Call back, until cancelled, once at the start and whenever a schedule may be due earlier than was known."""
