"""The agenda: the schedules of one namespace, and who waits for the next of them."""

from collections.abc import Collection, Sequence
from heapq import nsmallest

from asyncq.memory.home import Bell
from asyncq.transport import Change, Changed, Entry


class Agenda:
    """Schedules by name. Its caller holds the state's lock: each method is one atomic step.

    Attributes:
        bells: of the schedulers that wait.
    """

    def __init__(self) -> None:
        self.bells: set[Bell] = set()
        self._entries: dict[str, Entry] = {}
        self._declared: dict[str, int] = {}

    def first(self, limit: int) -> list[Entry]:
        """Return the schedules that are due first."""
        due = (entry for entry in self._entries.values() if entry.next_ms is not None)
        return nsmallest(limit, due, key=lambda entry: (entry.next_ms, entry.name))

    def find(self, name: str) -> Entry | None:
        """Return the schedule of this name."""
        return self._entries.get(name)

    def all(self) -> list[Entry]:
        """Return all of them, in alphabetical order."""
        return [self._entries[name] for name in sorted(self._entries)]

    def verdict(self, change: Change) -> Changed:
        """Return what a change would become; DONE: it can be made."""
        kept = self._entries.get(change.name)
        record = None if kept is None else kept.record
        if record == change.record:
            return Changed.ALREADY
        return Changed.DONE if record == change.seen else Changed.STALE

    def make(self, change: Change) -> None:
        """Make a change that can be made; wake the schedulers where something may be due earlier than they know."""
        first = self.first(1)
        if change.record is None:
            self._forget(change.name)
            return
        self._entries[change.name] = Entry(change.name, change.record, change.next_ms)
        if change.next_ms is not None and (not first or change.next_ms < (first[0].next_ms or 0)):
            self.ring()

    def declare(self, names: Collection[str], until_ms: int, lapsed_ms: int | None) -> Sequence[str]:
        """Note who is declared until when, and forget who is no more; return the names that are no schedules."""
        self._declared |= {name: max(until_ms, self._declared.get(name, 0)) for name in names}
        if lapsed_ms is not None:
            for name in [name for name, end_ms in self._declared.items() if end_ms <= lapsed_ms]:
                self._forget(name)
        return [name for name in names if name not in self._entries]

    def ring(self) -> None:
        """Let every scheduler look again."""
        for bell in self.bells:
            bell.ring()

    def _forget(self, name: str) -> None:
        self._entries.pop(name, None)
        self._declared.pop(name, None)
