"""The picking: what may be taken out of a consumer's buffers, and how much more the server may send there."""

from collections import deque
from collections.abc import Callable, Collection, Mapping

from asyncq.rabbitmq.deliveries import Arrival
from asyncq.rabbitmq.receiving import Intake
from asyncq.rabbitmq.returning import Returning
from asyncq.rabbitmq.sorting import Sorting
from asyncq.rabbitmq.wire import due_of
from asyncq.rabbitmq.yielding import Yielding


class Picking:
    """Takes what is to be asked for as it has come, and leaves to the sorting what has to be in turn.

    Args:
        intakes: of the consumer, by queue.
        sorting: knows which queues are not to be taken from.
        yielding: has suspects that wait.
        returning: sends on what has come too early.
        in_order: returns an intake's buffer in the order in which it is to be taken.
        now_ms: the time.
    """

    def __init__(
        self,
        intakes: Mapping[str, Intake],
        sorting: Sorting,
        yielding: Yielding,
        returning: Returning,
        in_order: Callable[[Intake], deque[Arrival]],
        now_ms: Callable[[], int],
    ) -> None:
        self._intakes = intakes
        self._sorting = sorting
        self._yielding = yielding
        self._returning = returning
        self._in_order = in_order
        self._now_ms = now_ms

    def has_any(self, queues: Collection[str]) -> bool:
        """Tell whether anything may be taken that has come from these queues."""
        return any(self._intakes[queue].buffer and not self._sorting.has(queue) for queue in queues)

    def crowded(self, limits: Mapping[str, int], count: int) -> list[str]:
        """Return the queues with groups from which more has come than is to be taken: it has to be in turn."""
        return [
            queue
            for queue, limit in limits.items()
            if (intake := self._intakes[queue]).is_sorted
            and len(intake.buffer) > min(limit, count)
            and not self._sorting.has(queue)
        ]

    def want(self, limits: Mapping[str, int], count: int) -> None:
        """Let the server send what there is time for, and take nothing yet."""
        for queue, limit in limits.items():
            if not self._sorting.has(queue):
                self._intakes[queue].want(limit, min(limit, count))

    def take(self, limits: Mapping[str, int], count: int, suspects: int) -> list[Arrival]:
        """Take what may be taken, after a suspect that waits, and let the server send more."""
        picked: list[Arrival] = []
        if suspects and (suspect := self._yielding.take(limits)) is not None:
            picked.append(suspect)
            limits = {**limits, suspect.queue: limits[suspect.queue] - 1}
        for queue, limit in limits.items():
            intake = self._intakes[queue]
            if self._sorting.has(queue):
                continue
            before, most = len(picked), min(limit, count - len(picked))
            if intake.buffer and most:
                self.take_from(intake, most, picked)
            taken = len(picked) - before
            intake.want(limit - taken, most - taken)
        return picked

    def take_from(self, intake: Intake, count: int, picked: list[Arrival]) -> None:
        """Add no more than so many to what is picked."""
        buffer = self._in_order(intake)
        while buffer and count:
            arrival = buffer.popleft()
            if arrival.properties.headers and due_of(arrival) > self._now_ms():
                self._returning.send_on(arrival)
            else:
                picked.append(arrival)
                count -= 1
