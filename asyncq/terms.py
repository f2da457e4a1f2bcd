"""The terms: what has to be granted before a call may run, and with whom it takes turns, as they travel with it."""

import msgspec

EXPIRY_MARGIN_MS = 1_000
"""What workers' views of the server's clock may differ by: one must not start what was lent as expired."""

PRIORITY_STEP_MS = 60_000
"""What a step of priority is worth among calls of one group: so much waiting, so that low ones do not starve."""


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
    """All that one call needs: all of it is granted in one step, or nothing. And whose turn it uses up.

    Numbers do not travel: a call that waits for hours would keep an old limit.

    Attributes:
        rates, slots: what it needs.
        group: the calls of one group wait in a lane, and lanes take turns: in a queue, and in the line of each limit;
            empty: none, whose calls share a lane. Only where `Capabilities.has_groups`.
        expires_ms: of a call that was never lent; when that is past it is lent without a grant, to be told that it has
            expired; 0: never. Only transports are told, from the message.
    """

    rates: tuple[RateTerm, ...] = ()
    slots: tuple[SlotTerm, ...] = ()
    group: str = ""
    expires_ms: int = 0

    @property
    def needs_grant(self) -> bool:
        """Whether anything has to be granted at all."""
        return bool(self.rates or self.slots)

    def has_expired(self, now_ms: int) -> bool:
        """Tell whether the call is surely over before it has started, also by a clock that is a little behind."""
        return 0 < self.expires_ms < now_ms - EXPIRY_MARGIN_MS

    def once_lent(self) -> "Terms":
        """Return the terms of a call that has been lent once: from now on it starts however late it is."""
        return msgspec.structs.replace(self, expires_ms=0) if self.expires_ms else self

    def expiring(self, expires_ms: int) -> "Terms":
        """Return the terms of a call that expires at another time by now; once lent, it expires no more."""
        return msgspec.structs.replace(self, expires_ms=expires_ms) if self.expires_ms else self


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Terms)


def encode_terms(terms: Terms) -> str:
    """Return terms as JSON, for servers that grant them."""
    return _encoder.encode(terms).decode()


def decode_terms(text: str) -> Terms:
    """Return what `encode_terms` was given."""
    return _decoder.decode(text)
