"""The waits: which calls somebody here waits for, which are to be looked at again, and which expires next."""

import asyncio
import heapq
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from math import inf

from asyncq.context import Loan
from asyncq.errors import AsyncqError
from asyncq.store import CallKey, Place, Sighting
from asyncq.tasks.calls import Waiting, expiring_message

LOOKS_AT_ONCE = 500

EXPIRIES_SLACK = 64
"""Times of expiry that are remembered beside those of twice the calls waited for, before the old ones are swept out."""


class Wait:
    """One call that somebody here waits for.

    Attributes:
        queue: where it is thought to be; None: anywhere.
        expires_ms: when it expires; 0: never, or not known.
        loans: of the tasks that wait for it.
        futures: of all who wait for it; each gets the encoded result, or None where there is none.
    """

    __slots__ = ("expires_ms", "futures", "loans", "queue")

    def __init__(self, queue: str | None) -> None:
        self.queue = queue
        self.expires_ms = 0
        self.loans: tuple[Loan, ...] = ()
        self.futures: list[asyncio.Future[bytes | None]] = []


class Waits:
    """The account of all waits of a process. It asks nobody.

    Attributes:
        has_work: set when something is to be looked at, or when the time to wake up may have come nearer.
    """

    def __init__(self) -> None:
        self.has_work = asyncio.Event()
        self._by_id: dict[str, Wait] = {}
        self._unsure: set[str] = set()
        self._hoping: dict[str, set[asyncio.Future[bytes | None]]] = {}
        self._expiries: list[tuple[int, str]] = []

    def __len__(self) -> int:
        return len(self._by_id)

    def add(self, waiting: Waiting) -> "tuple[Wait, asyncio.Future[bytes | None]]":
        """Have one more wait for this call: for the future that is returned."""
        wait = self._by_id.setdefault(waiting.id, Wait(waiting.queue))
        future: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()
        wait.futures.append(future)
        if len(self._by_id) == 1:
            self.has_work.set()  # the first: the safety looks begin
        if waiting.expires_ms:
            self._expire_at(waiting.id, wait, waiting.expires_ms)
        return wait, future

    def remove(self, id: str, wait: Wait, future: "asyncio.Future[bytes | None]") -> None:
        """Take back what `add` did, unless `resolve` has."""
        with suppress(ValueError):
            wait.futures.remove(future)
        if not wait.futures and self._by_id.get(id) is wait:
            del self._by_id[id]

    def resolve(self, id: str, record: bytes | None) -> None:
        """Tell all who wait for the call how it ended: its encoded result, or None where there is none."""
        wait = self._by_id.pop(id, None)
        if wait is None:
            return
        left = self._hoping.get(id) if record is None else None
        for future in wait.futures:
            if not future.done() and (left is None or future not in left):
                future.set_result(record)
        if left:
            wait.futures = list(left)
            self._by_id[id] = wait

    def fail(self, kind: type[AsyncqError], why: str) -> None:
        """Raise an error of this kind at all who wait."""
        for wait in self._by_id.values():
            for future in wait.futures:
                if not future.done():
                    future.set_exception(kind(why))

    @contextmanager
    def hoping(self, id: str, future: "asyncio.Future[bytes | None]") -> Generator[None]:
        """During the block its call may not be published yet: that nobody knows it tells this one nothing."""
        others = self._hoping.setdefault(id, set())
        others.add(future)
        try:
            yield
        finally:
            others.remove(future)
            if not others:
                del self._hoping[id]
            self.doubt(id)  # looks have passed it over

    # In doubt

    def doubt(self, id: str) -> None:
        """Have a call looked at, if it is waited for: it may have ended."""
        if id in self._by_id:
            self._unsure.add(id)
            self.has_work.set()

    def doubt_all(self) -> None:
        """Have all looked at; sets no `has_work`."""
        self._unsure.update(self._by_id)

    def take_doubtful(self) -> Iterator[list[CallKey]]:
        """Yield, some at a time, the calls to be looked at; they are in doubt no more."""
        ids = [id for id in self._unsure if id in self._by_id and id not in self._hoping]
        self._unsure.clear()
        for start in range(0, len(ids), LOOKS_AT_ONCE):
            some = ids[start : start + LOOKS_AT_ONCE]
            yield [CallKey(id, self._by_id[id].queue) for id in some if id in self._by_id]

    def learn(self, id: str, sighting: Sighting) -> None:
        """Take over from a sighting what waiting for the call needs: its queue, and when it expires."""
        wait = self._by_id.get(id)
        if wait is not None:
            wait.queue = sighting.queue
            if sighting.was_started and sighting.place is Place.READY:
                for loan in wait.loans:
                    loan.give_way()
            message = expiring_message(sighting)
            if message is not None:
                self._expire_at(id, wait, message.expires_ms)

    # Expiry

    def until_expiry(self, now_ms: int) -> float:
        """Return the seconds until the first of those we wait for expires; infinite: none does."""
        while self._expiries and self._expiries[0][1] not in self._by_id:
            heapq.heappop(self._expiries)
        return (self._expiries[0][0] - now_ms + 1) / 1000 if self._expiries else inf

    def take_expired(self, now_ms: int) -> Iterator[CallKey]:
        """Yield the calls whose time is over, each once; what is not asked for stays."""
        while self._expiries and self._expiries[0][0] <= now_ms:
            _, id = heapq.heappop(self._expiries)
            wait = self._by_id.get(id)
            if wait is not None:
                wait.expires_ms = 0  # if an outage comes between, the next look learns it again
                yield CallKey(id, wait.queue)

    def _expire_at(self, id: str, wait: Wait, expires_ms: int) -> None:
        if wait.expires_ms != expires_ms:
            wait.expires_ms = expires_ms
            heapq.heappush(self._expiries, (expires_ms, id))
            if len(self._expiries) > 2 * len(self._by_id) + EXPIRIES_SLACK:
                self._expiries = [(each.expires_ms, id) for id, each in self._by_id.items() if each.expires_ms]
                heapq.heapify(self._expiries)
            self.has_work.set()
