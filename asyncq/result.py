"""How a call stands and how it ended: what the worker records, and what the caller reads."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Generic, Self, TypeVar

import msgspec

from asyncq.errors import DecodeError
from asyncq.failure import Failure
from asyncq.message import Message, PastAttempt

R = TypeVar("R")


class Status(StrEnum):
    """How a call stands. UNKNOWN: never heard of, or forgotten."""

    UNKNOWN = "unknown"
    SCHEDULED = "scheduled"
    QUEUED = "queued"
    RUNNING = "running"
    RETRYING = "retrying"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"

    @property
    def is_final(self) -> bool:
        """Whether nothing will change any more."""
        return self in _FINAL


_FINAL = frozenset({Status.SUCCEEDED, Status.FAILED, Status.CANCELLED, Status.EXPIRED})


class Record(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """How a call ended, as it is stored and sent. docs/protocol.md describes its JSON.

    Attributes:
        id: the call's.
        task: its task's name.
        status: a final one.
        value: what the task returned, as JSON.
        error: what it raised last.
        attempts: how many were used.
        enqueued_ms, started_ms, finished_ms: by the server's clock; 0: never. `started_ms` is the last attempt's.
        worker: name of the process that ran it.
        labels: the message's.
        digest: the message's, so that an id that is published again can be compared.
        history: the message's: the attempts before the last one.
    """

    id: str
    task: str
    status: Status
    value: Any = None
    error: Failure | None = None
    attempts: int = 0
    enqueued_ms: int = 0
    started_ms: int = 0
    finished_ms: int = 0
    worker: str = ""
    labels: dict[str, Any] = {}
    digest: str = ""
    history: tuple[PastAttempt, ...] = ()


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Record)


def encode_record(record: Record) -> bytes:
    """Return the record's JSON; its value must be JSON-ready."""
    return _encoder.encode(record)


def decode_record(data: bytes) -> Record:
    """Return the record that these bytes hold.

    Raises:
        DecodeError: they are no record.
    """
    try:
        return _decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise DecodeError(f"These {len(data)} bytes are no result of asyncq: {error}.") from error


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt that failed and was followed by another.

    Attributes:
        number: 1 for the first.
        error_type: `module:QualifiedName` of the exception it raised.
        error_message: the beginning of its text.
        started_at, finished_at: aware datetimes (UTC).
        worker: name of the process that ran it.
    """

    number: int
    error_type: str
    error_message: str
    started_at: datetime | None
    finished_at: datetime | None
    worker: str

    @classmethod
    def of(cls, past: PastAttempt) -> Self:
        """Return what a message or a record says of an attempt."""
        started_at, finished_at = instant(past.started_ms), instant(past.finished_ms)
        return cls(past.number, past.error, past.message, started_at, finished_at, past.worker)


@dataclass(frozen=True, slots=True)
class Result(Generic[R]):
    """How a call ended.

    Attributes:
        status: SUCCEEDED, FAILED, CANCELLED or EXPIRED.
        value: what the task returned; None unless it succeeded.
        error: the exception that awaiting the handle raises; None when it succeeded.
        attempts: how many were used; a crash of the worker is none.
        enqueued_at, started_at, finished_at: aware datetimes (UTC); None: never.
        worker: name of the process that ran it.
        labels: the user's own facts about the call.
        history: the attempts that failed before the last one, oldest first; of very many the latest.
    """

    status: Status
    value: R | None = None
    error: BaseException | None = None
    attempts: int = 0
    enqueued_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    worker: str = ""
    labels: Mapping[str, Any] = field(default_factory=dict[str, Any])
    history: Sequence[Attempt] = ()


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a running task says it is.

    Attributes:
        done: units of work done.
        total: units in all; None where the task does not know.
        note: what it is at.
    """

    done: float
    total: float | None = None
    note: str = ""


def record_of(
    message: Message,
    status: Status,
    *,
    value: Any = None,
    error: Failure | None = None,
    attempts: int = 0,
    started_ms: int = 0,
    finished_ms: int = 0,
    worker: str = "",
) -> Record:
    """Return the record of a call that has ended, with what its message says of it."""
    return Record(
        id=message.id,
        task=message.task,
        status=status,
        value=value,
        error=error,
        attempts=attempts,
        enqueued_ms=message.enqueued_ms,
        started_ms=started_ms,
        finished_ms=finished_ms,
        worker=worker,
        labels=message.labels,
        digest=message.digest,
        history=message.history,
    )


def instant(at_ms: int) -> datetime | None:
    """Return the aware datetime of these milliseconds, None for 0."""
    return datetime.fromtimestamp(at_ms / 1000, UTC) if at_ms else None
