"""Limits: how many may start in a time, and how many may run at once, over all processes."""

from asyncq.limits.declared import ConcurrencyLimit, RateLimit, limit_id
from asyncq.limits.log import GrantLog
from asyncq.limits.numbers import Kind, LimitId, Numbers, shown_limit
from asyncq.limits.office import Asked, LimitOffice, LimitState

__all__ = [
    "Asked",
    "ConcurrencyLimit",
    "GrantLog",
    "Kind",
    "LimitId",
    "LimitOffice",
    "LimitState",
    "Numbers",
    "RateLimit",
    "limit_id",
    "shown_limit",
]
