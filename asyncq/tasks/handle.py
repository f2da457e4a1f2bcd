"""The handle: what a caller holds of a call, in the process that sent it or in any other."""

from collections.abc import AsyncIterator, Generator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

import msgspec

from asyncq.errors import ResultMissing
from asyncq.failure import exception_of
from asyncq.result import Attempt, Progress, Record, Result, Status, decode_record, instant
from asyncq.serializers import ResultCodec
from asyncq.store import CallKey, Place, Sighting
from asyncq.tasks.calls import Calls, expiring_message, message_of
from asyncq.tasks.due import due_time
from asyncq.terms import SlotTerm

R = TypeVar("R")

_progress = msgspec.json.Decoder(Progress)


@dataclass(frozen=True, slots=True)
class Event(Generic[R]):
    """A change of a call that `Handle.events` yields.

    Attributes:
        status: how the call stands.
        progress: the latest it has reported; None: none yet.
        result: how it ended; set on the last event alone.
    """

    status: Status
    progress: Progress | None = None
    result: Result[R] | None = None


class Handle(Generic[R]):
    """A call that was published: `await handle` gives what the task returns, or raises what it raised.

    On a broker without a memory of calls only the process that has published one is told how it ends; whatever else is
    asked raises NotSupported.

    Attributes:
        id: the call's id; `task.handle(id)` finds it again in any process.
        is_new: False when the same call was there already, by its id or its unique key, so that nothing was published.
    """

    __slots__ = (
        "__weakref__",
        "_calls",
        "_codec",
        "_keeps",
        "expires_ms",
        "id",
        "is_new",
        "is_told",
        "queue",
        "record",
        "slots",
    )

    def __init__(
        self,
        calls: Calls,
        codec: ResultCodec | None,
        id: str,
        queue: str | None,
        *,
        keeps: bool = True,
        is_told: bool = False,
        expires_ms: int = 0,
        slots: Sequence[SlotTerm] = (),
    ) -> None:
        self.id = id
        self.is_new = False
        self.queue = queue
        self.is_told = is_told
        self.expires_ms = expires_ms
        self.record: bytes | None = None
        self.slots = slots
        self._calls = calls
        self._codec = codec
        self._keeps = keeps

    def __repr__(self) -> str:
        return f"Handle({self.id!r})"

    def __await__(self) -> Generator[Any, None, R]:
        return self._value(None).__await__()

    def confirm(self, existing: CallKey | None) -> None:
        """Take in what became of the publishing: a call that was there already, or None.

        That one may tell its end to somebody else, and may have another id.
        """
        self.is_new = existing is None
        if existing is not None:
            self.is_told = False
            if existing.id != self.id:
                self.id, self.queue, self.expires_ms = existing.id, existing.queue, 0

    async def result(self, timeout: float | None = None, *, wait_for_publish: float = 0) -> Result[R]:
        """Wait until the call has ended and return how; never raise for the task's own failure.

        Args:
            timeout: seconds to wait; None: without limit; 0: only look.
            wait_for_publish: seconds to wait for an id that nobody has published yet.

        Raises:
            ResultTimeout: the time was up. The task goes on.
            ResultMissing: nobody knows the id, or its result is not kept (any more).
            BrokerUnavailable: the server could not be asked.
        """
        return self._read(await self._record(timeout, wait_for_publish))

    async def status(self) -> Status:
        """Return how the call stands now."""
        return self._standing(await self._look())

    async def progress(self) -> Progress | None:
        """Return the latest progress that the task has reported; None: none."""
        return _progress_of(await self._look())

    async def events(self) -> AsyncIterator[Event[R]]:
        """Yield how the call stands now, then each change that is told, and last how it ended.

        Raises:
            ResultMissing: nobody knows the id, or it has ended and its result is not kept.
        """
        async for sighting in self._calls.watch(CallKey(self.id, self.queue)):
            if sighting is None:
                raise ResultMissing(f"Nothing is known of call {self.id!r}.")
            status = self._standing(sighting)
            result = self._read(decode_record(sighting.record)) if sighting.record else None
            yield Event(status, _progress_of(sighting), result)

    async def cancel(self) -> bool:
        """End the call as CANCELLED, wherever it stands; return whether that is how it ends.

        On return it is decided, for good and in every process: who waits gets `TaskCancelled`, and the call is never
        tried again. What waits to be fetched, is scheduled or waits for a retry never runs. What runs is told to stop:
        a coroutine is cancelled, and may clean up; a thread is told (`Context.is_cancelled`); a process is killed.
        Whatever it still returns or raises is dropped.

        Returns:
            True: it ends as CANCELLED, now or since an earlier cancel. False: it had already ended otherwise.

        Raises:
            ResultMissing: nobody knows the id, or it has ended and its result is not kept (any more).
            BrokerUnavailable: the server could not be asked; cancelling again is safe.
        """
        return await self._calls.cancel(CallKey(self.id, self.queue))

    async def reschedule(self, *, delay: float | None = None, at: datetime | None = None) -> bool:
        """Give the call another time, as long as it waits; return whether that is when it is due now.

        Its time to expire moves with it, by as much. It stands behind what is due at the same time, and keeps its
        attempts: what waits for a retry is tried again then.

        Args:
            delay: seconds from now; 0: at once.
            at: an aware datetime. One of the two is given.

        Returns:
            False: it runs, or has ended.

        Raises:
            ConfigurationError: both, none, or a value that makes no sense.
            ResultMissing: nobody knows the id, or it has ended and its result is not kept (any more).
            NotSupported: the broker cannot.
            BrokerUnavailable: the server could not be asked; the same again is safe.
        """
        due_ms = due_time(delay, at, self._calls.now_ms())
        return await self._calls.reschedule(CallKey(self.id, self.queue), due_ms)

    def reschedule_sync(self, *, delay: float | None = None, at: datetime | None = None) -> bool:
        """Do what `reschedule` does, from a thread without a running loop."""
        return self._calls.run_sync(lambda: self.reschedule(delay=delay, at=at), "await handle.reschedule(...)")

    def cancel_sync(self) -> bool:
        """Do what `cancel` does, from a thread without a running loop."""
        return self._calls.run_sync(self.cancel, "await handle.cancel()")

    def result_sync(self, timeout: float | None = None) -> Result[R]:
        """Do what `result` does, from a thread without a running loop."""
        return self._calls.run_sync(lambda: self.result(timeout), "await handle.result(...)")

    async def _value(self, timeout: float | None) -> R:
        record = await self._record(timeout, 0)
        if record.error is not None:
            raise exception_of(record.error)
        return self._decoded(record.value)

    async def _record(self, timeout: float | None, wait_for_publish: float) -> Record:
        if not self._keeps:
            raise ResultMissing(f"Call {self.id!r} was published with store_result=False: no result is kept.")
        if self.record is not None:
            return decode_record(self.record)
        return await self._calls.wait(self, timeout=timeout, wait_for_publish=wait_for_publish)

    async def _look(self) -> Sighting | None:
        key = CallKey(self.id, self.queue)
        sighting = await self._calls.look(key)
        message = None if sighting is None else expiring_message(sighting)
        if message is None or message.expires_ms > self._calls.now_ms():
            return sighting
        await self._calls.expire(key, message)
        return await self._calls.look(key)

    def _standing(self, sighting: Sighting | None) -> Status:
        if sighting is None:
            return Status.UNKNOWN
        if sighting.record is not None:
            return decode_record(sighting.record).status
        if sighting.place is Place.RUNNING:
            return Status.RUNNING
        message = message_of(sighting)
        if message is not None and message.attempt > 0:
            return Status.RETRYING
        return Status.SCHEDULED if sighting.place is Place.SCHEDULED else Status.QUEUED

    def _read(self, record: Record) -> Result[R]:
        error = exception_of(record.error) if record.error is not None else None
        return Result(
            status=record.status,
            value=None if error else self._decoded(record.value),
            error=error,
            attempts=record.attempts,
            enqueued_at=instant(record.enqueued_ms),
            started_at=instant(record.started_ms),
            finished_at=instant(record.finished_ms),
            worker=record.worker,
            labels=record.labels,
            history=[Attempt.of(past) for past in record.history],
        )

    def _decoded(self, value: Any) -> R:
        return value if self._codec is None else self._codec.decode(value)


def _progress_of(sighting: Sighting | None) -> Progress | None:
    return None if sighting is None or sighting.progress is None else _progress.decode(sighting.progress)
