"""The letters: the dead letters of one queue."""

from itertools import count

from asyncq.memory.ranking import Ranking
from asyncq.transport import DeadLetter


class Letters:
    """Dead letters in the order of death. Its caller holds the state's lock and says what time it is."""

    def __init__(self) -> None:
        self._letters: dict[str, DeadLetter] = {}
        self._ends = Ranking[str]()
        self._places = count(1)

    def bury(self, letter: DeadLetter, end_ms: int, cap: int) -> None:
        """Keep a dead letter until `end_ms`, at the cost of the oldest when there are more than `cap`."""
        self._remove(letter.id)
        place = next(self._places)
        self._letters[letter.id] = letter._replace(place=place)
        self._ends.add(letter.id, end_ms, place)
        while len(self._letters) > cap:
            self._remove(next(iter(self._letters)))

    def count(self, now_ms: int) -> int:
        """Return how many are kept."""
        self._forget_expired(now_ms)
        return len(self._letters)

    def newest(self, limit: int, before: int | None, now_ms: int) -> list[DeadLetter]:
        """Return the newest of those that died before that place, newest first."""
        self._forget_expired(now_ms)
        older = (letter for letter in reversed(self._letters.values()) if before is None or letter.place < before)
        return [letter for letter, _ in zip(older, range(limit), strict=False)]

    def find(self, id: str, now_ms: int) -> DeadLetter | None:
        """Return the letter of a call, None where none is kept."""
        self._forget_expired(now_ms)
        return self._letters.get(id)

    def drop(self, letter: DeadLetter, now_ms: int) -> bool:
        """Forget this letter, and no later one of its call; return whether it was there."""
        is_there = self.has(letter, now_ms)
        if is_there:
            self._remove(letter.id)
        return is_there

    def has(self, letter: DeadLetter, now_ms: int) -> bool:
        """Tell whether this very letter is kept."""
        found = self.find(letter.id, now_ms)
        return found is not None and found.place == letter.place

    def _forget_expired(self, now_ms: int) -> None:
        for id in self._ends.pop_through(now_ms):
            del self._letters[id]

    def _remove(self, id: str) -> None:
        self._letters.pop(id, None)
        self._ends.discard(id)
