"""The unique term: a key that one call has to itself, and who has it."""

from typing import NamedTuple

import msgspec


class UniqueTerm(NamedTuple):
    """A key that a call has to itself from its publishing on.

    It is given back in the step that ends the call, or first lends it; with `ttl_ms` when that time is over, and not
    before. A call that is handed back or scheduled anew publishes nothing: it never meets its own key.

    Attributes:
        key: any text.
        ends_at_start: given back when the call is first lent.
        ttl_ms: given back so long after the publishing, whatever has become of the call; 0: as said above.
        replaces: a call that has the key, and waits, gets the new body, in its place and under its own id.
        moves: and the new due time; what is ready and not due again stays where it is.
        longest_ms: how long after the key was taken it may be due at the latest; 0: any time.
        id_at: where in the body its id stands, as JSON: from this byte to before that.
    """

    key: str
    ends_at_start: bool = False
    ttl_ms: int = 0
    replaces: bool = False
    moves: bool = False
    longest_ms: int = 0
    id_at: tuple[int, int] = (0, 0)

    def renamed(self, body: bytes, id: str) -> bytes:
        """Return a body of this term for the call that has the key already."""
        start, end = self.id_at
        return body[:start] + msgspec.json.encode(id) + body[end:]

    def ends_ms(self, now_ms: int) -> int:
        """Return when a key that is taken now is given back at the latest; 0: no time is set."""
        return now_ms + self.ttl_ms if self.ttl_ms else 0

    def put_off(self, due_ms: int, taken_ms: int) -> int:
        """Return when a call is due that took the key at a time, and was to be put off until `due_ms`."""
        return min(due_ms, taken_ms + self.longest_ms) if self.longest_ms else due_ms


class KeyOwner(NamedTuple):
    """A key that is taken.

    Attributes:
        key: its text.
        id, queue: of the call that has it.
        taken_ms: since when.
        ends_ms: when it is given back at the latest; 0: when its call has started or ended.
    """

    key: str
    id: str
    queue: str
    taken_ms: int
    ends_ms: int
