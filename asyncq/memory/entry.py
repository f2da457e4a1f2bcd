"""The entry: a message that has not ended."""

from dataclasses import dataclass

from asyncq.store import Place
from asyncq.terms import Terms
from asyncq.transport import SUSPECT_CRASHES, UniqueTerm


@dataclass(slots=True, eq=False)
class Entry:
    """A message that has not ended.

    Attributes:
        id, queue, body, priority: as published, or as the last attempt left them.
        place: where it stands.
        serial: its rank among equals, given when it became ready and kept until it is scheduled anew.
        ready_ms: when that was; 0: it was handed back.
        token: of its latest delivery.
        deaths: for each crash, who was taken for dead while it held it; empty where that is certain.
        generation: of a ledger's call: as in `Copy`.
        is_reopened: of a ledger's call: a letter that has not run since.
        is_changed: of a ledger's call: it was given another body while it waited, and has not run since.
        unique: the key that it has to itself, until it gives that back.
        terms: what has to be granted before it is lent, and its group; None: nothing, and none.
    """

    id: str
    queue: str
    body: bytes
    priority: int
    place: Place = Place.READY
    serial: int = 0
    ready_ms: int = 0
    token: str = ""
    deaths: tuple[str, ...] = ()
    generation: int = 0
    is_reopened: bool = False
    is_changed: bool = False
    unique: UniqueTerm | None = None
    terms: Terms | None = None

    @property
    def group(self) -> str:
        """Whose turn it uses up; empty: that of all without a group."""
        return "" if self.terms is None else self.terms.group

    @property
    def crashes(self) -> int:
        """How often somebody died while it held it."""
        return len(self.deaths)

    @property
    def is_suspect(self) -> bool:
        """Whether it is to run without others of its kind."""
        return self.crashes >= SUSPECT_CRASHES
