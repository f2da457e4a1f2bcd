"""The timetable within one process."""

from collections.abc import Callable, Mapping, Sequence

from asyncq.memory.home import Bell
from asyncq.memory.space import Space
from asyncq.memory.state import MemoryState
from asyncq.transport import Answer, Change, Changed, Entry, Timetable
from asyncq.turns import pass_turns

_NO_LENGTHS: Mapping[str, int | None] = {}


class MemoryTimetable(Timetable):
    """Remembers schedules as long as the process lives.

    Args:
        state: where everything is kept.
        space: of the namespace.
        max_lengths: how many may wait in a queue, where that is bounded.
    """

    def __init__(self, state: MemoryState, space: Space, max_lengths: Mapping[str, int | None] = _NO_LENGTHS) -> None:
        self._state = state
        self._space = space
        self._max_lengths = max_lengths

    def now_ms(self) -> int:
        return self._state.now_ms()

    async def first(self, limit: int) -> Sequence[Entry]:
        await pass_turns()  # nothing here waits: a scheduler that catches up would block its loop
        with self._state.lock:
            return self._space.agenda.first(limit)

    async def find(self, names: Sequence[str]) -> Sequence[Entry | None]:
        with self._state.lock:
            return [self._space.agenda.find(name) for name in names]

    async def entries(self) -> Sequence[Entry]:
        with self._state.lock:
            return self._space.agenda.all()

    async def change(self, changes: Sequence[Change]) -> Sequence[Answer]:
        with self._state.lock:
            now_ms = self._state.now_ms()
            return [self._change(change, now_ms) for change in changes]

    async def declare(self, names: Sequence[str], *, until_ms: int, lapsed_ms: int | None) -> Sequence[str]:
        with self._state.lock:
            return self._space.agenda.declare(names, until_ms, lapsed_ms)

    async def watch(self, changed: Callable[[], None]) -> None:
        bell = Bell()
        with self._state.lock:
            self._space.agenda.bells.add(bell)
        try:
            changed()
            while True:
                await bell.wait(None)
                with self._state.lock:
                    bell.clear()
                changed()
        finally:
            with self._state.lock:
                self._space.agenda.bells.discard(bell)

    def _change(self, change: Change, now_ms: int) -> Answer:
        verdict = self._space.agenda.verdict(change)
        if verdict is not Changed.DONE:
            return verdict
        refused = self._space.publish_all(change.envelopes, self._max_lengths, now_ms)
        if refused is not None:
            return refused
        self._space.agenda.make(change)
        return Changed.DONE
