"""The tombstones: in which generation calls have ended, of a ledger's namespace, also where no result tells."""

from itertools import count

from asyncq.memory.ranking import Ranking


class Tombstones:
    """One for each id, for its time. Its caller holds the state's lock and says what time it is."""

    def __init__(self) -> None:
        self._generations: dict[str, int] = {}
        self._ends = Ranking[str]()
        self._serials = count(1)

    def __len__(self) -> int:
        return len(self._generations)

    def set(self, id: str, generation: int, end_ms: int) -> None:
        """Know a generation until then, and no shorter than that of an earlier life was to be known."""
        self._generations[id] = generation
        self._ends.add(id, max(end_ms, self._ends.key_of(id) or 0), next(self._serials))

    def generation(self, id: str, now_ms: int) -> int | None:
        """Return in which generation a call has ended last; None: it has not, or that is forgotten."""
        for over in self._ends.pop_through(now_ms):
            del self._generations[over]
        return self._generations.get(id)
