"""The claims: ids that somebody is about to publish, of a ledger's namespace."""

from itertools import count
from typing import NamedTuple

from asyncq.memory.ranking import Ranking
from asyncq.memory.uniques import Uniques
from asyncq.transport import Envelope, UniqueTerm


class Claim(NamedTuple):
    """An id that somebody is about to publish.

    Attributes:
        body: of the message.
        generation: in which it is published.
        end_ms: until when nobody else may.
        queue, unique: where it is published, and the key that it has claimed with its id; None: none.
    """

    body: bytes
    generation: int
    end_ms: int
    queue: str
    unique: UniqueTerm | None


class Claims:
    """What is claimed, until it lapses or becomes a call. Its caller holds the state's lock and says what time it is.

    Args:
        uniques: the keys of the namespace.
    """

    def __init__(self, uniques: Uniques) -> None:
        self._uniques = uniques
        self._claims: dict[str, Claim] = {}
        self._ends = Ranking[str]()
        self._serials = count(1)

    def __len__(self) -> int:
        return len(self._claims)

    def find(self, id: str, now_ms: int) -> Claim | None:
        """Return the claim of an id that is open."""
        for lapsed in self._ends.pop_through(now_ms):
            del self._claims[lapsed]
        return self._claims.get(id)

    def hold(self, id: str, claim: Claim, ttl_ms: int, now_ms: int) -> None:
        """Let a claim, and its key, hold for so long from now on."""
        self._claims[id] = claim._replace(end_ms=now_ms + ttl_ms)
        self._ends.add(id, now_ms + ttl_ms, next(self._serials))
        if (term := claim.unique) is not None:
            owner = self._uniques.owner(term.key, now_ms)
            if owner is not None and owner.id == id:
                self._uniques.claim(term, id, claim.queue, now_ms, ttl_ms)

    def strike(self, envelope: Envelope, now_ms: int) -> None:
        """Take a claim back that was made for this message, with its key."""
        claim = self.find(envelope.id, now_ms)
        if claim is not None and claim.body == envelope.body:
            if claim.unique is not None:
                self._uniques.strike(claim.unique, envelope.id)
            self.forget(envelope.id)

    def forget(self, id: str) -> None:
        """Take note that an id is not claimed any more."""
        self._claims.pop(id, None)
        self._ends.discard(id)
