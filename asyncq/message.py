"""The message: one call of one task, as it travels. docs/protocol.md describes its JSON for other languages."""

import os
import time
from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import Meta

from asyncq.errors import DecodeError
from asyncq.terms import Terms

PROTOCOL_VERSION = 1
"""Raised when an older reader could misread a message; a field that may be ignored does not raise it."""

MAX_SECONDS = 3_155_760_000.0
"""A hundred years: no option of a call is longer. Any sum of a few is a time that every server can keep."""

_Count = Annotated[int, Meta(ge=0, le=2**31)]
_Instant = Annotated[int, Meta(ge=0, le=253_402_300_799_999)]  # the year 9999, the last of a datetime
_DueTime = Annotated[int, Meta(ge=0, le=2**53)]  # the last that a double, as servers keep due times, has exactly
_Seconds = Annotated[float, Meta(ge=0, le=MAX_SECONDS)]

OnDuplicate: TypeAlias = Literal["return_existing", "raise", "replace", "debounce"]


class RetryNumbers(msgspec.Struct, frozen=True, kw_only=True):
    """What of a retry policy travels. What is missing is as `RetryPolicy` has it.

    Attributes:
        max_attempts, delay, factor, max_delay, jitter: as in `RetryPolicy`.
    """

    max_attempts: Annotated[int, Meta(ge=1)] = 5
    delay: _Seconds = 1.0
    factor: Annotated[float, Meta(ge=1)] = 2.0
    max_delay: _Seconds = 600.0
    jitter: bool = True


class Overrides(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Options of one call that replace the task's own. None: as the task declares.

    Attributes:
        timeout: seconds an attempt may run; 0: no limit.
        result_ttl: seconds the result is kept.
        store_result: False: nothing is kept and no waiter is told a value.
        retry: the retry policy as a map of its fields; an empty map: no retries.
    """

    timeout: _Seconds | None = None
    result_ttl: _Seconds | None = None
    store_result: bool | None = None
    retry: dict[str, Any] | None = None


class UniqueKey(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A key that one call has to itself; what `Unique` makes of a call.

    Attributes:
        key: its text, which begins with the task's name.
        until: until when: the end of the call, its start, or `seconds` from its publishing.
        seconds: as `until` says.
        on_duplicate: what becomes of another call of that key.
        longest: seconds from its first call after which a debounced call is put off no further; 0: no bound.
    """

    key: Annotated[str, Meta(min_length=1)]
    until: Literal["finished", "started", "seconds"] = "finished"
    seconds: _Seconds = 0.0
    on_duplicate: OnDuplicate = "return_existing"
    longest: _Seconds = 0.0


class PastAttempt(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """An attempt that failed and was followed by another.

    Attributes:
        number: 1 for the first.
        error: `module:QualifiedName` of what it raised.
        message: its text, the beginning of it.
        started_ms, finished_ms: by the server's clock.
        worker: name of the process that ran it.
    """

    number: _Count
    error: str
    message: str = ""
    started_ms: _Instant = 0
    finished_ms: _Instant = 0
    worker: str = ""


class Message(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One call of one task.

    Times are milliseconds since 1970 by the server's clock; 0: not set. Unknown fields of a newer producer are
    ignored here and kept by `amended()`, so they survive a retry.

    Attributes:
        v: version of the protocol.
        id: unique among all calls whose task has not ended or whose result is kept.
        task: registered name.
        args: positional arguments, as JSON.
        kwargs: arguments by name, as JSON.
        queue: where it is published.
        priority: 0-9, larger runs first.
        attempt: attempts used before this one.
        enqueued_ms: when it was first published.
        due_ms: not to be started before.
        expires_ms: not to be started for the first time after.
        reply: address of the process that wants to be told the result; empty: nobody.
        labels: the user's own facts about the call.
        digest: fingerprint of task and arguments, where the caller chose the id.
        overrides: options of this call alone.
        unique: the key that it has to itself; None: none.
        history: the latest of the attempts before this one, oldest first.
        terms: what has to be granted before it may run; None: nothing.
        condemned: crashes on its count when its burial as poison, or its next run, was put off; 0: neither was.
    """

    v: int
    id: str
    task: str
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    queue: str = "default"
    priority: Annotated[int, Meta(ge=0, le=9)] = 0
    attempt: _Count = 0
    enqueued_ms: _Instant = 0
    due_ms: _DueTime = 0
    expires_ms: _DueTime = 0
    reply: str = ""
    labels: dict[str, Any] = {}
    digest: str = ""
    overrides: Overrides | None = None
    unique: UniqueKey | None = None
    history: tuple[PastAttempt, ...] = ()
    condemned: _Count = 0
    terms: Terms | None = None


class _Head(msgspec.Struct, frozen=True):
    """What a message of any protocol has."""

    v: int
    id: str = ""


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Message)
_head_decoder = msgspec.json.Decoder(_Head)
_OF_ONE_LIFE = frozenset({"attempt", "expires_ms", "history", "condemned"})
_fields_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])


def encode_message(message: Message) -> bytes:
    """Return the message's JSON; its arguments must be JSON-ready."""
    return _encoder.encode(message)


def decode_message(body: bytes) -> Message:
    """Return the message that these bytes hold.

    Raises:
        DecodeError: they are no message, or one of a later protocol.
    """
    try:
        message = _decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        head = _head_of(body)
        if head is not None and head.v != PROTOCOL_VERSION:
            raise _of_another_protocol(head.v, head.id) from error
        raise DecodeError(f"These {len(body)} bytes are no asyncq message: {error}.") from error
    if message.v != PROTOCOL_VERSION:
        raise _of_another_protocol(message.v, message.id)
    return message


def terms_of(message: Message) -> Terms | None:
    """Return the terms of a call, with its expiry: who grants them must not spend them on what is over."""
    if message.terms is None or not message.expires_ms:
        return message.terms
    return msgspec.structs.replace(message.terms, expires_ms=message.expires_ms)


def _head_of(body: bytes) -> _Head | None:
    try:
        return _head_decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _of_another_protocol(version: int, id: str) -> DecodeError:
    return DecodeError(
        f"Message {id!r} speaks protocol {version}; this asyncq speaks {PROTOCOL_VERSION}. "
        "Upgrade the workers before the producers."
    )


def amended(body: bytes, **changes: object) -> bytes:
    """Return a message's JSON with some fields changed and every other one, known here or not, as it was.

    To the byte: what reads and writes a value again may round a number, or refuse what is deeply nested.
    """
    return _encoder.encode(_fields_decoder.decode(body) | changes)


def revived(body: bytes, *, due_ms: int) -> bytes:
    """Return a message's JSON for another life: due now, and without what this one left in it (attempts, expiry).

    What is no message stays as it is: the next worker may know better.
    """
    try:
        fields = _fields_decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return body
    kept = {name: value for name, value in fields.items() if name not in _OF_ONE_LIFE}
    return _encoder.encode(kept | {"due_ms": due_ms})


def new_id() -> str:
    """Return a new id: 11 hex digits of milliseconds, then 14 random ones. Ids of one process sort by time."""
    return f"{time.time_ns() // 1_000_000:011x}{os.urandom(7).hex()}"
