"""The lines: the queues of one namespace, and the limits that their calls wait for."""

from collections.abc import Iterable

from asyncq.memory.entry import Entry
from asyncq.memory.keyed import LimitKey
from asyncq.memory.letters import Letters
from asyncq.memory.limiter import Limiter, slots_of
from asyncq.memory.line import Line
from asyncq.transport import Counts

_NO_COUNTS = Counts(ready=0, scheduled=0, running=0, dead=0)


class Lines:
    """A line for each queue that was ever used. Its caller holds the state's lock and says what time it is.

    Attributes:
        limiter: what limits have granted.
    """

    def __init__(self) -> None:
        self.limiter = Limiter()
        self._lines: dict[str, Line] = {}

    def line(self, queue: str) -> Line:
        """Return a queue's line."""
        line = self._lines.get(queue)
        if line is None:
            line = self._lines[queue] = Line(self.limiter)
        return line

    def queues(self) -> list[str]:
        """Return the queues that were ever used, in alphabetical order."""
        return sorted(self._lines)

    def counts(self, queue: str, now_ms: int) -> Counts:
        """Return how many messages of the queue stand where."""
        line = self._lines.get(queue)
        return _NO_COUNTS if line is None else line.counts(now_ms)

    def first_in_line(self, queue: str, now_ms: int) -> list[bytes]:
        """Return the bodies of those in the queue that have been ready for longest, one of each priority."""
        line = self._lines.get(queue)
        return [] if line is None else [entry.body for entry in line.first(now_ms)]

    def letters(self, queue: str) -> Letters:
        """Return the queue's dead letters."""
        line = self._lines.get(queue)
        return Letters() if line is None else line.letters

    def next_due_ms(self, queues: Iterable[str]) -> int | None:
        """Return when the next message of these queues becomes due; None: none is scheduled."""
        due_times = (self.line(queue).next_due_ms() for queue in queues)
        return min((due_ms for due_ms in due_times if due_ms is not None), default=None)

    def free(self, entry: Entry) -> None:
        """Free the slots of a call that is not lent any more."""
        if entry.terms is not None:
            for of in slots_of(entry.terms):
                if self.limiter.free(of, entry.id):
                    self.wake(of)

    def wake(self, of: LimitKey) -> None:
        """Have those asked for who wait for this limit, in every queue: a slot is free."""
        for line in self._lines.values():
            line.wake(of)
        self.limiter.waiters.call(of)

    def wake_all(self) -> None:
        """Have everybody asked for who waits for a limit: limits have changed."""
        for line in self._lines.values():
            line.wake_all()
        self.limiter.waiters.call_all()
