"""Limits for code outside of tasks: `async with broker.rate_limit(...)`, across every process."""

from abc import abstractmethod
from collections.abc import Sequence

from asyncq.broker.limiters import ConcurrencyLimiter, RateLimiter
from asyncq.errors import ConfigurationError
from asyncq.limits import ConcurrencyLimit, LimitId, LimitOffice, LimitState, Numbers, RateLimit, limit_id


class Limiting:
    """The part of a broker that gives limits to code outside of tasks."""

    def rate_limit(self, name: str, limit: int, per: float, *, key: str = "", burst: int | None = None) -> RateLimiter:
        """Return a rate limit for any code, in any process; tasks with `RateLimit(name=...)` share it.

        Args:
            name: limits of one name are one limit.
            limit: how many.
            per: in so many seconds.
            key: which of its counts is meant.
            burst: as in `RateLimit`.

        Raises:
            NotSupported: the broker keeps no limits.
            ConfigurationError: a value that makes no sense, or other numbers than a task declares.
        """
        declared = RateLimit(limit, per, burst=burst, name=_named(name))
        id = limit_id(declared, name)
        self._agree(id, declared.numbers, f"rate_limit({name!r})")
        return RateLimiter(self.limit_office, id, declared.numbers, _checked_key(key))

    def concurrency_limit(self, name: str, n: int, *, key: str = "") -> ConcurrencyLimiter:
        """Return a concurrency limit for any code, in any process; it raises what `rate_limit` does."""
        declared = ConcurrencyLimit(n, name=_named(name))
        id = limit_id(declared, name)
        self._agree(id, declared.numbers, f"concurrency_limit({name!r})")
        return ConcurrencyLimiter(self.limit_office, id, declared.numbers, _checked_key(key))

    async def limit_states(self) -> Sequence[LimitState]:
        """Return the limits of this namespace, as declared and as changed at run time."""
        return await (await self.limit_office()).states()

    @abstractmethod
    def _agree(self, id: LimitId, numbers: Numbers, who: str) -> None:
        """Raise ConfigurationError where a limit has other numbers elsewhere, NotSupported where none can be kept."""

    @abstractmethod
    async def limit_office(self) -> LimitOffice:
        """Return where limits are kept, opened if need be."""


def _named(name: object) -> str:
    if not isinstance(name, str):
        raise ConfigurationError(f"A limit has a name, e.g. broker.rate_limit('stripe', 100, per=60); got {name!r}.")
    return name


def _checked_key(key: object) -> str:
    if not isinstance(key, str) or len(key) > 500:
        raise ConfigurationError(f"key= is a text of at most 500 characters; got {key!r}.")
    return key
