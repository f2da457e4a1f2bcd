"""The frames of a publication, as AMQP 0-9-1 lays them out (sections 2.3.5 and 4.2 of its specification).

pamqp makes the same of them in 12 us, by several objects for each message; this takes half a microsecond. It is most of
what publishing costs here.
"""

from collections.abc import Mapping
from functools import lru_cache
from struct import Struct
from typing import Any, NamedTuple

from pamqp import encode
from pamqp.commands import Basic
from pamqp.frame import marshal

from asyncq.rabbitmq.names import HEADER_ID

MAX_ID = 255
"""Bytes of a message id."""

_HEADER, _BODY, _END = 2, 3, b"\xce"
_CLASS = 60
_PERSISTENT = 2
_HAS_HEADERS, _HAS_MODE, _HAS_PRIORITY, _HAS_EXPIRATION, _HAS_ID = 0x2000, 0x1000, 0x0800, 0x0100, 0x0080

_frame = Struct(">BHI")
_plain_header = Struct(">BHIHHQHBB")
"""Type, channel, size; class, weight, size of the body, flags, delivery mode, length of the id that follows."""
_content = Struct(">HHQH")
_PLAIN_SIZE = _plain_header.size - _frame.size


class Message(NamedTuple):
    """What is published.

    Attributes:
        exchange: may be empty: the default one, which leads to the queue that the routing key names.
        id: of the call. On the wire it stands behind a number of ours, or in a header where it is too long for that.
        headers: they cost six microseconds and more.
        priority: for queues that have priorities.
        expiration_ms: how long the queue keeps it, at least until it comes to the head; 0: for ever.
    """

    exchange: str
    routing_key: str
    body: bytes
    id: str
    headers: Mapping[str, Any] | None = None
    priority: int = 0
    expiration_ms: int = 0


def message_id(number: int, id: str) -> str:
    """Return the property of that name: unique among all that is under way on a channel, where ids may repeat.

    An id that is too long for it is left out.
    """
    whole = f"{number}:{id}"
    return whole if len(whole) <= MAX_ID // 4 or len(whole.encode()) <= MAX_ID else f"{number}:"


def number_in(message_id: str) -> int:
    """Return the number that was published with it; 0: it is none of ours."""
    number = message_id.partition(":")[0]
    return int(number) if number.isdecimal() else 0


def call_id(message_id: str, headers: Mapping[str, Any] | None) -> str:
    """Return the id that was published with these properties."""
    return message_id.partition(":")[2] or str((headers or {}).get(HEADER_ID, ""))


def publication(message: Message, number: int, *, channel: int, max_size: int) -> list[bytes]:
    """Return the frames of a mandatory, persistent message, in pieces.

    Args:
        message: to publish.
        number: for its `message_id`.
        channel: the channel's number.
        max_size: of the payload of one frame of its body; 0 or less: unlimited.
    """
    exchange, routing_key, body, id, headers, priority, expiration_ms = message
    wire_id = message_id(number, id)
    if len(wire_id) <= len(id):
        headers = {**(headers or {}), HEADER_ID: id}
    if headers or priority or expiration_ms:
        content = _with_properties(channel, len(body), wire_id.encode(), headers or {}, priority, expiration_ms)
    else:
        content = _plain(channel, len(body), wire_id.encode())
    pieces = [_method(channel, exchange, routing_key), content]
    if 0 < max_size < len(body):
        for start in range(0, len(body), max_size):
            pieces += _body(channel, body[start : start + max_size])
    elif body:
        pieces += _body(channel, body)
    return pieces


@lru_cache(maxsize=1_000)
def _method(channel: int, exchange: str, routing_key: str) -> bytes:
    return marshal(Basic.Publish(exchange=exchange, routing_key=routing_key, mandatory=True), channel)


def _plain(channel: int, size: int, id: bytes) -> bytes:
    flags = _HAS_MODE | _HAS_ID
    length = len(id)
    payload = _PLAIN_SIZE + length
    return _plain_header.pack(_HEADER, channel, payload, _CLASS, 0, size, flags, _PERSISTENT, length) + id + _END


def _with_properties(
    channel: int, size: int, id: bytes, headers: Mapping[str, Any], priority: int, expiration_ms: int
) -> bytes:
    flags = _HAS_MODE | _HAS_ID | (_HAS_HEADERS if headers else 0) | (_HAS_PRIORITY if priority else 0)
    expiration = str(expiration_ms).encode() if expiration_ms else b""
    flags |= _HAS_EXPIRATION if expiration else 0
    payload = b"".join(
        (
            _content.pack(_CLASS, 0, size, flags),
            encode.field_table(dict(headers)) if headers else b"",
            bytes((_PERSISTENT, priority) if priority else (_PERSISTENT,)),
            bytes((len(expiration),)) + expiration if expiration else b"",
            bytes((len(id),)),
            id,
        )
    )
    return _frame.pack(_HEADER, channel, len(payload)) + payload + _END


def _body(channel: int, part: bytes) -> tuple[bytes, bytes, bytes]:
    return _frame.pack(_BODY, channel, len(part)), part, _END
