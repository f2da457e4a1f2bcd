"""The unique keys of one namespace, and who has them."""

from itertools import count, islice

from asyncq.memory.ranking import Ranking
from asyncq.transport import KeyOwner, UniqueTerm


class Uniques:
    """Keys that calls have to themselves. Its caller holds the state's lock and says what time it is."""

    def __init__(self) -> None:
        self._owners: dict[str, KeyOwner] = {}
        self._ends = Ranking[str]()
        self._serials = count(1)

    def owner(self, key: str, now_ms: int) -> KeyOwner | None:
        """Return who has a key."""
        self._forget_expired(now_ms)
        return self._owners.get(key)

    def take(self, term: UniqueTerm, id: str, queue: str, now_ms: int) -> None:
        """Give a free key to a call."""
        self._set(KeyOwner(term.key, id, queue, now_ms, term.ends_ms(now_ms)))

    def claim(self, term: UniqueTerm, id: str, queue: str, now_ms: int, ttl_ms: int) -> None:
        """Give a free key, or its own, to a call that may never be published: for so long."""
        owner = self._owners.get(term.key)
        taken_ms = now_ms if owner is None or owner.id != id else owner.taken_ms
        self._set(KeyOwner(term.key, id, queue, taken_ms, now_ms + ttl_ms))

    def confirm(self, term: UniqueTerm, id: str, queue: str, now_ms: int) -> bool:
        """Let a call that was published keep the key that it has claimed; False: it was cleared, or is another's."""
        owner = self.owner(term.key, now_ms)
        if owner is None or owner.id != id:
            return False
        self._set(KeyOwner(term.key, id, queue, owner.taken_ms, term.ends_ms(owner.taken_ms)))
        return True

    def strike(self, term: UniqueTerm, id: str) -> None:
        """Free the key of a claim that is taken back."""
        owner = self._owners.get(term.key)
        if owner is not None and owner.id == id:
            self._ends.discard(term.key)
            del self._owners[term.key]

    def give_back(self, term: UniqueTerm, id: str) -> None:
        """Free the key of a call that has started or ended, unless it is kept for a time, or another's by now."""
        owner = self._owners.get(term.key)
        if owner is not None and owner.id == id and not owner.ends_ms:
            del self._owners[term.key]

    def keys(self, prefix: str, limit: int, now_ms: int) -> list[KeyOwner]:
        """Return those that begin like this, in alphabetical order."""
        self._forget_expired(now_ms)
        return [self._owners[key] for key in islice(sorted(k for k in self._owners if k.startswith(prefix)), limit)]

    def clear(self, key: str, now_ms: int) -> bool:
        """Free a key; return whether it was taken."""
        self._forget_expired(now_ms)
        self._ends.discard(key)
        return self._owners.pop(key, None) is not None

    def _set(self, owner: KeyOwner) -> None:
        self._owners[owner.key] = owner
        self._ends.discard(owner.key)
        if owner.ends_ms:
            self._ends.add(owner.key, owner.ends_ms, next(self._serials))

    def _forget_expired(self, now_ms: int) -> None:
        for key in self._ends.pop_through(now_ms):
            del self._owners[key]
