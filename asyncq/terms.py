"""The terms: what has to be granted before a call may run, as it travels with the call."""

import msgspec


class RateTerm(msgspec.Struct, frozen=True, array_like=True):
    """A turn of a rate limit.

    Attributes:
        name: of the limit.
        key: which of its logs; empty: the limit has one only.
        weight: how many grants the call counts for.
    """

    name: str
    key: str = ""
    weight: int = 1


class SlotTerm(msgspec.Struct, frozen=True, array_like=True):
    """A slot of a concurrency limit.

    Attributes:
        name: of the limit.
        key: which of its sets of holders; empty: the limit has one only.
    """

    name: str
    key: str = ""


class Terms(msgspec.Struct, frozen=True, omit_defaults=True):
    """All that one call needs: all of it is granted in one step, or nothing.

    Numbers do not travel: a call that waits for hours would keep an old limit.
    """

    rates: tuple[RateTerm, ...] = ()
    slots: tuple[SlotTerm, ...] = ()


_encoder = msgspec.json.Encoder()


def encode_terms(terms: Terms) -> str:
    """Return terms as JSON, for servers that grant them."""
    return _encoder.encode(terms).decode()
