"""The inbound frames: those of deliveries and confirms are read here, and all others left to aiormq.

aiormq and pamqp take some 25 us for a delivery: three frames, nine reads of the stream, a task, and a dozen objects of
which three are of use. This takes two. The layout is that of AMQP 0-9-1, sections 2.3.5 and 4.2.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from struct import Struct
from typing import Any, NamedTuple, Protocol

from pamqp.header import ContentHeader

READ_SIZE = 1 << 18

_METHOD, _HEADER, _BODY = 1, 2, 3
_DELIVER, _CANCEL, _CLOSE = bytes((0, 60, 0, 60)), bytes((0, 60, 0, 30)), bytes((0, 20, 0, 40))
_ACK, _NACK, _RETURN = bytes((0, 60, 0, 80)), bytes((0, 60, 0, 120)), bytes((0, 60, 0, 50))
_HEARTBEAT = bytes((8, 0, 0, 0, 0, 0, 0, 0xCE))
SIGN_OF_LIFE = 1.0
"""Seconds for which aiormq may see nothing of what arrives."""
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
    """The reading end of a connection, as aiormq uses it. Of channels that have a taker it is asked first.

    aiormq gives a connection up on which it sees nothing for three heartbeats, and a server that sends anything else
    sends none. So while all that arrives is taken, it is shown heartbeats of ours.

    Args:
        reader: of the stream.
        sign_of_life: seconds between them.
    """

    def __init__(self, reader: asyncio.StreamReader, *, sign_of_life: float = SIGN_OF_LIFE) -> None:
        self.takers: dict[int, Taker] = {}
        self._sign_of_life = sign_of_life
        self._shown_at = time.monotonic()
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
            now = time.monotonic()
            if now - self._shown_at >= self._sign_of_life:
                self._shown_at = now
                self._data, self._at = _HEARTBEAT + data[self._at :], 0
                return

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
        cancelled: called with a consumer that the server has ended. Does not raise.
        closed: called when the server closes the channel, before aiormq knows. Does not raise.
    """

    def __init__(
        self,
        arrived: Callable[[str, int, bool, Properties, bytes], None],
        cancelled: Callable[[str], None],
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
                self._cancelled(data[start + 5 : start + 5 + data[start + 4]].decode())
            elif method == _CLOSE:
                self._closed()
            return False
        if not self._tag:  # the content of what aiormq has asked for
            return False
        if kind == _HEADER:
            self._missing, self._properties = _content_of(data, start, end)
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

    def _finish(self) -> None:
        parts = self._parts
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        parts.clear()
        tag, self._tag = self._tag, 0
        self._arrived(self._consumer, tag, self._is_redelivered, self._properties, body)


class Outcomes:
    """Reads what the server says of the messages that were published on one channel.

    Args:
        confirmed: called with a delivery tag, whether all before it are meant, too, and whether the server has taken
            them or refuses them. Does not raise.
        returned: called with the `message_id` of a message for which there is no queue. Does not raise.
    """

    def __init__(self, confirmed: Callable[[int, bool, bool], None], returned: Callable[[str], None]) -> None:
        self._confirmed = confirmed
        self._returned = returned
        self._is_returning = False
        self._missing = 0

    def take(self, kind: int, data: bytes, start: int, end: int) -> bool:
        """Take the frames of confirms and of returned messages, and leave all others."""
        if kind == _METHOD:
            method = data[start : start + 4]
            if method in (_ACK, _NACK):
                tag, flags = _tag.unpack_from(data, start + 4)
                self._confirmed(tag, bool(flags & 1), method == _ACK)
                return True
            self._is_returning = method == _RETURN
            return self._is_returning
        if not self._is_returning:
            return False
        if kind == _HEADER:
            self._missing, properties = _content_of(data, start, end)
            self._returned(properties.message_id)
        else:
            self._missing -= end - start
        self._is_returning = self._missing > 0
        return True


def _content_of(data: bytes, start: int, end: int) -> tuple[int, Properties]:
    """Return the size of the body and the properties that a header tells."""
    _, _, size, flags = _content.unpack_from(data, start)
    if flags == _PLAIN:
        at = start + _content.size + 2  # after the mode and the length of the id
        return size, Properties(data[at:end].decode())
    header = ContentHeader()
    header.unmarshal(data[start:end])
    return size, properties_of(header)


def properties_of(header: ContentHeader) -> Properties:
    """Return what is of use of what pamqp has read."""
    properties = header.properties
    return Properties(
        properties.message_id or "", properties.headers, properties.priority or 0, properties.expiration or None
    )
