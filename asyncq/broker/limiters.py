"""The limiters: rate and concurrency limits in the hands of code outside of tasks."""

import asyncio
import logging
import os
import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress
from types import TracebackType
from typing import NamedTuple, Self

from asyncq.errors import BrokerUnavailable, ConfigurationError, LeaseLost, LimitExceeded
from asyncq.limits import ConcurrencyLimit, LimitId, LimitOffice, Numbers, RateLimit, shown_limit

logger = logging.getLogger("asyncq.broker")

LEASE = 15.0
"""Seconds for which a slot, or a place in line, outlives its process."""

FORGET_SECONDS = 2.0
"""Seconds that giving a turn back may take whose caller is being cancelled."""


class Granted(NamedTuple):
    """A turn, or a slot.

    Attributes:
        waiter: the name under which it was asked for; it holds the slot.
        asked_at: when, by the loop's clock: the lease begins no earlier.
    """

    waiter: str
    asked_at: float


class _Limit:
    """What rate and concurrency limits have in common: their numbers are declared when they are first used.

    Attributes:
        id: kind and name.
        numbers: as declared here.
        key: which of its counts.
    """

    def __init__(self, office: Callable[[], Awaitable[LimitOffice]], id: LimitId, numbers: Numbers, key: str) -> None:
        self.id = id
        self.numbers = numbers
        self.key = key
        self._find_office = office
        self._is_declared = False

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {shown_limit(self.id, self.numbers)}>"

    async def reset(self) -> None:
        """Take back what was changed at run time: the declared numbers hold again, in every process."""
        await (await self._office()).change(self.id, None)

    async def _change(self, numbers: Numbers) -> None:
        await (await self._office()).change(self.id, numbers)

    async def _office(self) -> LimitOffice:
        office = await self._find_office()
        if not self._is_declared:
            await office.declare({self.id: self.numbers})
            self._is_declared = True
        return office

    async def _granted(self, weight: int, timeout: float | None) -> Granted:
        """Wait for a turn. Raises LimitExceeded on time."""
        _check_timeout(timeout)
        office, waiter = await self._office(), f"{os.getpid()}-{secrets.token_hex(8)}"
        loop = asyncio.get_running_loop()
        end = None if timeout is None else loop.time() + timeout
        try:
            while True:
                asked_at = loop.time()
                asked = await office.ask(self.id, self.key, weight, waiter, round(LEASE * 1000))
                if asked.is_granted:
                    return Granted(waiter, asked_at)
                seconds = asked.wait_ms / 1000
                if end is not None and loop.time() >= end:
                    break
                await office.called(waiter, seconds if end is None else max(0, min(seconds, end - loop.time())))
        except BaseException:
            with suppress(BrokerUnavailable, TimeoutError):  # then its place, or its slot, lapses with its lease
                async with asyncio.timeout(FORGET_SECONDS):
                    await asyncio.shield(office.leave(self.id, self.key, waiter))
            raise
        await office.leave(self.id, self.key, waiter)
        raise LimitExceeded(f"No turn of {shown_limit(self.id, self.numbers)} in {timeout:g} s.", seconds)


class RateLimiter(_Limit):
    """A rate limit for any code: `async with` waits for a turn, across every process."""

    async def acquire(self, *, weight: int = 1, timeout: float | None = None) -> None:
        """Wait for a turn, behind those that came before.

        Args:
            weight: how many turns it counts for.
            timeout: seconds; 0: now or not at all; None: no limit.

        Raises:
            LimitExceeded: there was none in time; `retry_after` says when there may be.
        """
        if not isinstance(weight, int) or isinstance(weight, bool) or not 1 <= weight <= self.numbers.limit:  # pyright: ignore[reportUnnecessaryIsInstance] - callers need not use a type checker
            raise ConfigurationError(f"weight= is a whole number from 1 to {self.numbers.limit:,}; got {weight!r}.")
        await self._granted(weight, timeout)

    async def pause(self, seconds: float) -> None:
        """Let nothing start for so long, in no process: for a 429 with Retry-After.

        A shorter pause does not shorten a longer one; 0 ends it.
        """
        if not 0 <= seconds <= 366 * 24 * 3600:
            raise ConfigurationError(f"pause() takes seconds, from 0 to a year; got {seconds!r}.")
        await (await self._office()).pause(self.id, self.key or None, round(seconds * 1000))

    async def change(self, limit: int, per: float, *, burst: int | None = None) -> None:
        """Let other numbers hold, at once and for every process, until `reset`.

        A longer `per` knows of the grants that the shorter one still counted, and of none before.
        """
        await self._change(RateLimit(limit, per, burst=burst).numbers)

    async def __aenter__(self) -> Self:
        await self.acquire()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Do nothing: a turn is used when it is granted."""


class ConcurrencyLimiter(_Limit):
    """A concurrency limit for any code: `async with` holds a slot, across every process.

    The slot is held under a lease that is renewed beside the code that it guards. One object may be entered many times,
    also at once.
    """

    def __init__(self, office: Callable[[], Awaitable[LimitOffice]], id: LimitId, numbers: Numbers, key: str) -> None:
        super().__init__(office, id, numbers, key)
        self._holds: dict[asyncio.Task[object] | None, list[Hold]] = {}

    def acquire(self, *, timeout: float | None = None) -> "Hold":
        """Return a hold to be entered: `async with limit.acquire(timeout=2):` raises LimitExceeded on time."""
        _check_timeout(timeout)
        return Hold(self, timeout)

    async def change(self, n: int) -> None:
        """Let another number hold, at once and for every process, until `reset`. Who holds a slot keeps it."""
        await self._change(ConcurrencyLimit(n).numbers)

    async def __aenter__(self) -> Self:
        hold = await self.acquire().__aenter__()
        self._holds.setdefault(asyncio.current_task(), []).append(hold)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        task = asyncio.current_task()
        holds = self._holds[task]
        hold = holds.pop()
        if not holds:
            del self._holds[task]
        await hold.__aexit__(kind, error, trace)

    async def take(self, timeout: float | None) -> Granted:
        """Wait for a slot."""
        return await self._granted(1, timeout)

    async def renew(self, holder: str) -> bool:
        """Hold a slot for a further lease; False: it was lost."""
        return await (await self._office()).renew(self.id, self.key, holder, round(LEASE * 1000))

    async def give_back(self, holder: str) -> bool | None:
        """Give a slot back; False: it was lost before; None: it may have been."""
        return await (await self._office()).leave(self.id, self.key, holder)


class Hold:
    """A slot, from entry to exit."""

    def __init__(self, limiter: ConcurrencyLimiter, timeout: float | None) -> None:
        self._limiter = limiter
        self._timeout = timeout
        self._holder = ""
        self._ends_at = 0.0  # its lease, at the earliest
        self._is_lost = False
        self._renewing: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._holder, asked_at = await self._limiter.take(self._timeout)
        self._ends_at = asked_at + LEASE
        self._renewing = asyncio.create_task(self._renew())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the slot back.

        Raises:
            LeaseLost: it was lost meanwhile: more may have run at once than the limit allows.
        """
        if self._renewing is not None:
            self._renewing.cancel()
        try:
            is_held = await self._limiter.give_back(self._holder)
        except BrokerUnavailable as fault:  # it lapses with its lease
            logger.warning("Could not give back a slot of %r; it is free in %g s: %s", self._limiter, LEASE, fault)
            return
        if is_held is None:
            is_held = asyncio.get_running_loop().time() < self._ends_at
        if (self._is_lost or not is_held) and error is None:
            raise LeaseLost(
                f"A slot of {self._limiter!r} was lost while it was held, by an outage or a blocked loop of more than "
                f"{LEASE:g} s: others may have run beside this code."
            )

    async def _renew(self) -> None:
        loop = asyncio.get_running_loop()
        while not self._is_lost:
            await asyncio.sleep(LEASE / 3)
            asked_at = loop.time()
            with suppress(BrokerUnavailable):  # asked again; the lease tells in the end
                self._is_lost = not await self._limiter.renew(self._holder)
                self._ends_at = asked_at + LEASE


def _check_timeout(timeout: object) -> None:
    if timeout is not None and not (isinstance(timeout, (int, float)) and timeout >= 0):
        raise ConfigurationError(f"timeout= is a number of seconds, 0 or more, or None; got {timeout!r}.")
