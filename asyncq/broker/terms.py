"""Terms: what a transport is told of the unique key in a message."""

import msgspec

from asyncq.message import Message, UniqueKey
from asyncq.transport import UniqueTerm


def term_of(unique: UniqueKey, id: str, body: bytes) -> UniqueTerm:
    """Return the term of a call's key; `body` is its message, encoded."""
    written = msgspec.json.encode(id)
    start = body.index(b'"id":' + written) + len(b'"id":')  # only the version, a number, stands before it
    return UniqueTerm(
        unique.key,
        ends_at_start=unique.until == "started",
        ttl_ms=round(unique.seconds * 1000) if unique.until == "seconds" else 0,
        replaces=unique.on_duplicate in ("replace", "debounce"),
        moves=unique.on_duplicate == "debounce",
        longest_ms=round(unique.longest * 1000),
        id_at=(start, start + len(written)),
    )


def revived_term(message: Message | None) -> UniqueTerm | None:
    """Return the term of a call that begins anew: it is what it was, and takes nobody's place."""
    if message is None or message.unique is None:
        return None
    unique = message.unique
    ttl_ms = round(unique.seconds * 1000) if unique.until == "seconds" else 0
    return UniqueTerm(unique.key, ends_at_start=unique.until == "started", ttl_ms=ttl_ms)
