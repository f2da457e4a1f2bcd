"""The inbound frames: those of deliveries are read here, and all others left to aiormq.

aiormq and pamqp take some 25 us for a delivery: three frames, nine reads of the stream, a task, and a dozen objects of
which three are of use. This takes two. The layout is that of AMQP 0-9-1, sections 2.3.5 and 4.2.
"""

import asyncio
from collections.abc import Callable, Mapping
from struct import Struct
from typing import Any, NamedTuple, Protocol

from pamqp.header import ContentHeader

READ_SIZE = 1 << 18

_METHOD, _HEADER, _BODY = 1, 2, 3
_DELIVER, _CANCEL, _CLOSE = bytes((0, 60, 0, 60)), bytes((0, 60, 0, 30)), bytes((0, 20, 0, 40))
_PLAIN = 0x1080
"""Flags of a message that has a delivery mode and an id, and nothing else."""

_frame = Struct(">BHI")
_tag = Struct(">QB")
_content = Struct(">HHQH")
_FRAME_SIZE = _frame.size


class Properties(NamedTuple):
    """What is of use of a message's properties.

    Attributes:
        message_id, headers, priority, expiration: of these names in AMQP.
    """

    message_id: str
    headers: Mapping[str, Any] | None = None
    priority: int = 0
    expiration: str | None = None


class Taker(Protocol):
    """What takes frames of one channel."""

    def take(self, kind: int, data: bytes, start: int, end: int) -> bool:
        """Take a frame whose payload this is, or leave it to aiormq by returning False. Does not raise."""
        ...


class Inbound:
    """The reading end of a connection, as aiormq uses it. Of channels that have a taker it is asked first."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self.takers: dict[int, Taker] = {}
        self._reader = reader
        self._data = b""
        self._at = 0
        self._is_rest = False  # what is read next

    def at_eof(self) -> bool:
        """Return whether there is nothing more."""
        return self._at >= len(self._data) and self._reader.at_eof()

    async def readexactly(self, size: int) -> bytes:
        """Return so many bytes. Of each frame aiormq reads the first byte, six more, and the rest."""
        if self._is_rest:
            self._is_rest = False
        elif size == 1:
            await self._divert()
        else:
            self._is_rest = True
        while len(self._data) - self._at < size:
            await self._fill(size)
        start, self._at = self._at, self._at + size
        return self._data[start : self._at]

    async def _divert(self) -> None:
        """Let takers have what they want, until a frame comes that is for aiormq."""
        while True:
            data, at = self._data, self._at
            if len(data) - at < _FRAME_SIZE:
                await self._fill(1)
                continue
            kind, channel, size = _frame.unpack_from(data, at)
            taker = self.takers.get(channel)
            if taker is None:
                return
            start = at + _FRAME_SIZE
            end = start + size
            if len(data) <= end:
                await self._fill(1)
                continue
            if not taker.take(kind, data, start, end):
                return
            self._at = end + 1

    async def _fill(self, wanted: int) -> None:
        chunk = await self._reader.read(READ_SIZE)
        rest = self._data[self._at :]
        if not chunk:
            raise asyncio.IncompleteReadError(rest, wanted)
        self._data = rest + chunk if rest else chunk
        self._at = 0


class Deliveries:
    """Puts the deliveries of one channel together.

    Args:
        arrived: called with consumer, tag, whether it is redelivered, properties, body. Does not raise.
        cancelled: called when the server has ended the consumer. Does not raise.
        closed: called when the server closes the channel, before aiormq knows. Does not raise.
    """

    def __init__(
        self,
        arrived: Callable[[str, int, bool, Properties, bytes], None],
        cancelled: Callable[[], None],
        closed: Callable[[], None],
    ) -> None:
        self._arrived = arrived
        self._cancelled = cancelled
        self._closed = closed
        self._consumer = ""
        self._tag = 0  # of the delivery whose content is coming
        self._is_redelivered = False
        self._properties = Properties("")
        self._parts: list[bytes] = []
        self._missing = 0

    def take(self, kind: int, data: bytes, start: int, end: int) -> bool:
        """Take the frames of deliveries, and leave all others."""
        if kind == _METHOD:
            method = data[start : start + 4]
            if method == _DELIVER:
                self._begin(data, start + 4)
                return True
            if method == _CANCEL:
                self._cancelled()
            elif method == _CLOSE:
                self._closed()
            return False
        if not self._tag:  # the content of what aiormq has asked for
            return False
        if kind == _HEADER:
            self._missing = self._read_header(data, start, end)
        elif kind == _BODY:
            self._parts.append(data[start:end])
            self._missing -= end - start
        else:
            return False
        if self._missing <= 0:
            self._finish()
        return True

    def _begin(self, data: bytes, start: int) -> None:
        """Read consumer, tag and mark of redelivery; exchange and routing key follow."""
        at = start + 1 + data[start]
        self._consumer = data[start + 1 : at].decode()
        self._tag, flags = _tag.unpack_from(data, at)
        self._is_redelivered = bool(flags & 1)

    def _read_header(self, data: bytes, start: int, end: int) -> int:
        """Read the properties, and return the size of the body."""
        _, _, size, flags = _content.unpack_from(data, start)
        if flags == _PLAIN:
            at = start + _content.size + 2  # after the mode and the length of the id
            self._properties = Properties(data[at:end].decode())
        else:
            self._properties = _all_properties(data[start:end])
        return size

    def _finish(self) -> None:
        parts = self._parts
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        parts.clear()
        tag, self._tag = self._tag, 0
        self._arrived(self._consumer, tag, self._is_redelivered, self._properties, body)


def _all_properties(payload: bytes) -> Properties:
    header = ContentHeader()
    header.unmarshal(payload)
    return properties_of(header)


def properties_of(header: ContentHeader) -> Properties:
    """Return what is of use of what pamqp has read."""
    properties = header.properties
    return Properties(
        properties.message_id or "", properties.headers, properties.priority or 0, properties.expiration or None
    )
