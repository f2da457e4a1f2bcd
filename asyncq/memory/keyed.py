"""The limit key: one count of a limit."""

from typing import NamedTuple

from asyncq.limits import LimitId


class LimitKey(NamedTuple):
    """One count of a limit: what lines, logs and holders are of."""

    id: LimitId
    key: str
