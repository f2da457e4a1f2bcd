"""The streams: opened by us, handed over to aiormq, and heard while a connection is being opened."""

import asyncio
import socket
import ssl
from typing import Any, cast

from aiormq import ConnectionClosed, TransportFactory
from pamqp.commands import Connection as Methods
from pamqp.exceptions import PAMQPException
from pamqp.frame import unmarshal
from yarl import URL

from asyncq.errors import ConfigurationError
from asyncq.keepalive import keepalive_options
from asyncq.rabbitmq.inbound import Inbound
from asyncq.rabbitmq.urls import Target, Tls

_FIRST_BYTES = b"\x01A"
"""Of a frame that starts a connection, and of a header that names another version of the protocol."""


class Streams(TransportFactory):
    """The two directions of a connection, as aiormq takes them.

    aiormq would open them itself, but logs an error for each node that does not answer.

    Attributes:
        writer: frames that are written there whole stand among those of aiormq.
        inbound: where frames can be taken before aiormq reads them.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        self.inbound = Inbound(reader)
        self._reader = _Reader(reader, self.inbound)

    async def create(self, url: URL, **kwargs: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return cast(asyncio.StreamReader, self._reader), self.writer

    def abort(self) -> None:
        """End them at once; what was not sent yet is dropped."""
        self.writer.transport.abort()

    def opened(self) -> None:
        """Take note that the server has let us in: it need not be heard any more."""
        self._reader.forget()

    def refusal(self) -> ConnectionClosed | None:
        """Return what the server said when it closed the connection that was being opened, if it did.

        aiormq tells only that it got an answer which it did not expect.
        """
        heard = bytes(self._reader.heard)
        try:
            while heard:
                size, _, frame = unmarshal(heard)
                if isinstance(frame, Methods.Close):
                    return ConnectionClosed(frame.reply_code, frame.reply_text)
                heard = heard[size:]
        except PAMQPException:  # cut off, or no AMQP at all
            pass
        return None


class _Reader:
    """What aiormq uses of a stream that it reads, and a record of it."""

    def __init__(self, reader: asyncio.StreamReader, inbound: Inbound) -> None:
        self.heard = bytearray()
        self.at_eof = reader.at_eof
        self.read = reader.read
        self._reader = reader
        self._inbound = inbound
        self._is_listening = True
        self.readexactly = self._read_and_record

    def forget(self) -> None:
        self._is_listening = False  # a read may be under way
        self.heard.clear()
        self.readexactly = self._inbound.readexactly
        self.at_eof = self._inbound.at_eof

    async def _read_and_record(self, size: int) -> bytes:
        data = await self._reader.readexactly(size)
        if not self._is_listening:
            return data
        self.heard += data
        if self.heard[0] not in _FIRST_BYTES:
            raise ConfigurationError(
                "What answers there is no RabbitMQ, or one that wants TLS: amqps:// is for that, mostly on port 5671."
            )
        return data


async def open_streams(target: Target) -> Streams:
    """Connect to a node, and do no more. Raises OSError, or ConfigurationError for certificates of no use."""
    context = None if target.tls is None else await asyncio.to_thread(_tls_context, target.tls)
    reader, writer = await asyncio.open_connection(target.host, target.port, ssl=context)
    wire = writer.get_extra_info("socket")
    wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    wire.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in keepalive_options().items():
        wire.setsockopt(socket.IPPROTO_TCP, option, value)
    return Streams(reader, writer)


def _tls_context(tls: Tls) -> ssl.SSLContext:
    """Return a new one for each connection: certificates are renewed while a process lives."""
    try:
        context = ssl.create_default_context(cafile=tls.cafile or None, capath=tls.capath or None)
        if tls.certfile:
            context.load_cert_chain(tls.certfile, tls.keyfile or None)
    except OSError as error:  # a bad certificate is one, too
        files = ", ".join(filter(None, (tls.cafile, tls.capath, tls.certfile, tls.keyfile)))
        raise ConfigurationError(f"The certificates of the URL ({files}) can't be used: {error}") from error
    if not tls.verify:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context
