"""The waiters of a process: who waits for which call, and how they are told. Pushed, never polled for."""

import asyncio
import heapq
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any
from weakref import WeakValueDictionary

from asyncq.broker.batcher import Batcher
from asyncq.broker.ending import Keeping, expiry_of
from asyncq.context import Loan, current_loan
from asyncq.errors import BrokerUnavailable, ResultMissing, ResultTimeout
from asyncq.message import Message
from asyncq.result import Record, decode_record
from asyncq.store import CallKey, Listener, Notice, Place, Sighting, Store
from asyncq.tasks.calls import Waiting, expiring_message
from asyncq.transport import Transport

SAFETY_SECONDS = 10.0
"""How often what is waited for is looked up although nothing was told: a notice can be lost with its connection."""

APPEARING_SECONDS = (0.02, 0.5)
"""First and longest pause between two looks for an id that nobody has published yet."""

LOOKS_AT_ONCE = 500

EXPIRIES_SLACK = 64
"""Times of expiry that are remembered beside those of twice the calls waited for, before the old ones are swept out."""


class _Wait:
    """One call that somebody here waits for."""

    __slots__ = ("expires_ms", "futures", "loans", "queue")

    def __init__(self, queue: str | None) -> None:
        self.queue = queue
        self.expires_ms = 0
        self.loans: tuple[Loan, ...] = ()
        self.futures: list[asyncio.Future[bytes | None]] = []


class Waiters:
    """Waits for results on behalf of any number of tasks, over one subscription.

    The order that loses no wake-up: subscribe, have it confirmed, then look, then wait. A call that was published
    with our address after the subscription needs no look.
    """

    def __init__(
        self,
        transport: Transport,
        store: Store,
        start: Callable[[Coroutine[Any, Any, None]], None],
        keeping: Keeping,
    ) -> None:
        self.address = ""
        self._transport = transport
        self._store = store
        self._start = start
        self._keeping = keeping
        self._looks = Batcher[CallKey, Sighting | None](self._store.look)
        self._watches = Batcher[CallKey, Sighting | None](self._look_and_watch)
        self._expected: WeakValueDictionary[str, Waiting] = WeakValueDictionary()
        self._waits: dict[str, _Wait] = {}
        self._changes: dict[str, set[asyncio.Event]] = {}
        self._expiries: list[tuple[int, str]] = []
        self._unsure: set[str] = set()
        self._has_work = asyncio.Event()
        self._starting = asyncio.Lock()
        self._is_looking = False

    def expect(self, waiting: Waiting) -> None:
        """Keep what is told about this call for as long as the object lives, whether or not anybody waits yet."""
        other = self._expected.get(waiting.id)
        if other is not None:
            other.is_told = False  # one is told; the other looks
        self._expected[waiting.id] = waiting

    async def wait(self, waiting: Waiting, *, timeout: float | None, wait_for_publish: float) -> Record:
        """Return how the call ended.

        Raises:
            ResultTimeout: not within `timeout` seconds.
            ResultMissing: nobody knows the id, or its result is not kept (any more).
        """
        await self._listen()
        if waiting.record is None and timeout == 0:
            return await self._record_now(waiting)
        wait, future = self._register(waiting)
        loan = current_loan.get()
        if loan is not None:
            loan.lend()
            wait.loans = (*wait.loans, loan)
        scope = asyncio.timeout(timeout)
        try:
            async with scope:
                record = await self._told(waiting, future, wait_for_publish)
        except TimeoutError:
            if not scope.expired():
                raise
            raise ResultTimeout(f"Call {waiting.id!r} did not end within {timeout:g} s; it goes on.") from None
        except asyncio.CancelledError:
            if loan is not None:
                loan.take_back_at_once()  # its time limit, or the worker's, does not wait for a slot
                loan = None
            raise
        finally:
            self._unregister(waiting.id, wait, future)
            if loan is not None:
                await loan.take_back()
        if record is None:
            raise _missing(waiting.id)
        return decode_record(record)

    async def look(self, key: CallKey) -> Sighting | None:
        """Return what is known of a call; concurrent looks share a round trip."""
        self._start_looking()
        return await self._looks.put(key)

    async def changes(self, key: CallKey) -> AsyncIterator[Sighting | None]:
        """Yield what is known of a call now and after each change, until it has ended or nothing is known of it."""
        await self._listen()
        changed = asyncio.Event()
        self._changes.setdefault(key.id, set()).add(changed)
        last: Sighting | None = None
        try:
            while True:
                sighting = await self._watches.put(key)
                if sighting != last or sighting is None:
                    yield sighting
                if sighting is None or sighting.record is not None:
                    return
                last = sighting
                with suppress(TimeoutError):
                    async with asyncio.timeout(SAFETY_SECONDS):
                        await changed.wait()
                changed.clear()
        finally:
            self._changes[key.id].discard(changed)
            if not self._changes[key.id]:
                del self._changes[key.id]

    async def expire(self, key: CallKey, message: Message) -> bool:
        """End a call whose time to start is over; return False when it has started or ended otherwise."""
        if message.expires_ms > self._transport.now_ms():
            return False
        outcome = expiry_of(message, self._keeping, self._transport.now_ms())
        return await self._transport.withdraw(message.id, key.queue or message.queue, outcome)

    async def run(self) -> None:
        """Look again where a notice was not enough, at what may have been missed, and at what expires."""
        next_safety = 0.0
        loop = asyncio.get_running_loop()
        while True:
            if loop.time() >= next_safety:
                self._unsure.update(self._waits)
                next_safety = loop.time() + SAFETY_SECONDS
            try:
                await self._expire_due()
                await self._look_again()
            except BrokerUnavailable:
                next_safety = loop.time() + 1.0
            pause = min(next_safety - loop.time(), self._until_expiry()) if self._waits else None
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._has_work.wait()
            self._has_work.clear()

    def close(self) -> None:
        """Let nobody wait for what nobody listens to any more."""
        for wait in self._waits.values():
            for future in wait.futures:
                if not future.done():
                    future.set_exception(BrokerUnavailable("The broker was closed while a result was waited for."))
        self._take_all()

    # Waiting

    async def _told(
        self, waiting: Waiting, future: "asyncio.Future[bytes | None]", wait_for_publish: float
    ) -> bytes | None:
        if waiting.record is not None:
            return waiting.record
        if not waiting.is_told:
            sighting = await self._appearance(CallKey(waiting.id, waiting.queue), wait_for_publish)
            if sighting is None or sighting.record is not None:
                return None if sighting is None else sighting.record
            self._learn(waiting.id, sighting)
        return await future

    async def _appearance(self, key: CallKey, seconds: float) -> Sighting | None:
        """Look for an id, again and again for so many seconds while nobody knows it."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        pause, longest = APPEARING_SECONDS
        while True:
            sighting = await self._watches.put(key)
            left = until - loop.time()
            if sighting is not None or left <= 0:
                return sighting
            await asyncio.sleep(min(pause, left))
            pause = min(longest, pause * 2)

    async def _record_now(self, waiting: Waiting) -> Record:
        sighting = await self.look(CallKey(waiting.id, waiting.queue))
        if sighting is None:
            raise _missing(waiting.id)
        if sighting.record is None:
            raise ResultTimeout(f"Call {waiting.id!r} has not ended yet.")
        return decode_record(sighting.record)

    def _register(self, waiting: Waiting) -> "tuple[_Wait, asyncio.Future[bytes | None]]":
        wait = self._waits.setdefault(waiting.id, _Wait(waiting.queue))
        future: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()
        wait.futures.append(future)
        if len(self._waits) == 1:
            self._has_work.set()  # the first: the safety looks begin
        if waiting.expires_ms:
            self._expire_at(waiting.id, wait, waiting.expires_ms)
        return wait, future

    def _unregister(self, id: str, wait: _Wait, future: "asyncio.Future[bytes | None]") -> None:
        with suppress(ValueError):
            wait.futures.remove(future)
        if not wait.futures and self._waits.get(id) is wait:
            del self._waits[id]

    # Being told

    async def _listen(self) -> None:
        if self.address:
            return
        async with self._starting:
            if not self.address:
                self._start_looking()
                self.address = await self._store.listen(Listener(self._take_notices, self._take_all))
                self._start(self._store.run())
                self._start(self.run())

    def _start_looking(self) -> None:
        if not self._is_looking:
            self._is_looking = True
            self._start(self._looks.run())
            self._start(self._watches.run())

    async def _look_and_watch(self, keys: Sequence[CallKey]) -> Sequence[Sighting | None]:
        return await self._store.look(keys, watcher=self.address)

    def _take_notices(self, notices: Sequence[Notice]) -> None:
        for notice in notices:
            if notice.record is not None:
                self._resolve(notice.id, notice.record)
            elif notice.is_over:
                self._take_end(notice.id)
            if self._changes:
                for changed in self._changes.get(notice.id, ()):
                    changed.set()

    def _take_end(self, id: str) -> None:
        """Take a notice that a call has ended, but not how: who waits or will wait for it looks."""
        expected = self._expected.pop(id, None)
        if expected is not None:
            expected.is_told = False
        if id in self._waits:
            self._unsure.add(id)
            self._has_work.set()

    def _take_all(self) -> None:
        self._unsure.update(self._waits)
        self._has_work.set()
        for several in self._changes.values():
            for changed in several:
                changed.set()
        for waiting in list(self._expected.values()):
            waiting.is_told = False  # its notice may have been missed: whoever waits for it looks first

    def _resolve(self, id: str, record: bytes | None) -> None:
        expected = self._expected.pop(id, None)
        if expected is not None:
            expected.record = record
        wait = self._waits.pop(id, None)
        if wait is not None:
            for future in wait.futures:
                if not future.done():
                    future.set_result(record)

    # Looking again

    async def _look_again(self) -> None:
        ids = [id for id in self._unsure if id in self._waits]
        self._unsure.clear()
        for start in range(0, len(ids), LOOKS_AT_ONCE):
            some = ids[start : start + LOOKS_AT_ONCE]
            keys = [CallKey(id, self._waits[id].queue) for id in some if id in self._waits]
            for key, sighting in zip(keys, await self._look_and_watch(keys), strict=True):
                if sighting is None or sighting.record is not None:
                    self._resolve(key.id, None if sighting is None else sighting.record)
                else:
                    self._learn(key.id, sighting)

    def _learn(self, id: str, sighting: Sighting) -> None:
        """Take over from a sighting what waiting for the call needs: its queue, and when it expires."""
        wait = self._waits.get(id)
        if wait is not None:
            wait.queue = sighting.queue
            if sighting.was_started and sighting.place is Place.READY:
                for loan in wait.loans:
                    loan.give_way()
            message = expiring_message(sighting)
            if message is not None:
                self._expire_at(id, wait, message.expires_ms)

    def _expire_at(self, id: str, wait: _Wait, expires_ms: int) -> None:
        if wait.expires_ms != expires_ms:
            wait.expires_ms = expires_ms
            heapq.heappush(self._expiries, (expires_ms, id))
            if len(self._expiries) > 2 * len(self._waits) + EXPIRIES_SLACK:
                self._expiries = [(each.expires_ms, id) for id, each in self._waits.items() if each.expires_ms]
                heapq.heapify(self._expiries)
            self._has_work.set()

    def _until_expiry(self) -> float:
        """Return the seconds until the first of those we wait for expires."""
        while self._expiries and self._expiries[0][1] not in self._waits:
            heapq.heappop(self._expiries)
        return (self._expiries[0][0] - self._transport.now_ms() + 1) / 1000 if self._expiries else SAFETY_SECONDS

    async def _expire_due(self) -> None:
        now_ms = self._transport.now_ms()
        while self._expiries and self._expiries[0][0] <= now_ms:
            _, id = heapq.heappop(self._expiries)
            wait = self._waits.get(id)
            if wait is not None:
                wait.expires_ms = 0  # if an outage comes between, the next look learns it again
                await self._expire_one(CallKey(id, wait.queue))

    async def _expire_one(self, key: CallKey) -> None:
        [sighting] = await self._look_and_watch([key])
        message = None if sighting is None else expiring_message(sighting)
        if sighting is not None and message is not None:
            await self.expire(CallKey(key.id, sighting.queue), message)
            self._unsure.add(key.id)


def _missing(id: str) -> ResultMissing:
    return ResultMissing(f"No result of call {id!r}: nobody knows the id, or its result is not kept (any more).")
