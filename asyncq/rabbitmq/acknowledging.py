"""The acknowledging: the one place from which the deliveries of a channel are acknowledged, in order."""

import asyncio
from struct import Struct
from typing import NamedTuple

from asyncq.rabbitmq.connection import Connection

_frame = Struct(">BHIHHQBB")
_METHOD, _BASIC, _ACK, _END = 1, 60, 80, 0xCE
_SIZE = 13

SOON = 0.005


class Acknowledgement(NamedTuple):
    """What is said to the server.

    Attributes:
        tag: a delivery that is outstanding.
        is_multiple: it is meant with all before it.
    """

    tag: int
    is_multiple: bool

    def frame(self, channel: int) -> bytes:
        """Return it as it is sent (AMQP 0-9-1, Basic.Ack)."""
        return _frame.pack(_METHOD, channel, _SIZE, _BASIC, _ACK, self.tag, self.is_multiple, _END)


class Tags:
    """The delivery tags of one channel: 1, 2, 3 and so on, settled in any order.

    The server closes a channel on which a tag is named that is not outstanding. So a tag is named once, by itself or
    for all up to it, and a tag that others are meant with is one that was never named.
    """

    __slots__ = ("_beyond", "_prefix", "_settled")

    def __init__(self) -> None:
        self._prefix = 0  # all tags up to this one are acknowledged
        self._beyond: set[int] = set()  # those after it that are
        self._settled: set[int] = set()  # not acknowledged yet

    def settle(self, tag: int) -> None:
        """Let a tag be acknowledged with the next ones that are taken. Once for each."""
        self._settled.add(tag)

    @property
    def settled(self) -> int:
        """How many are not acknowledged yet."""
        return len(self._settled)

    def take(self) -> list[Acknowledgement]:
        """Return what has to be said, in order: the longest prefix in one, the others one by one."""
        settled, beyond = self._settled, self._beyond
        last = count = 0
        tag = self._prefix + 1
        while True:
            if tag in settled:
                settled.discard(tag)
                last = tag
                count += 1
            elif tag in beyond:
                beyond.discard(tag)
            else:
                break
            tag += 1
        self._prefix = tag - 1
        acknowledgements = [Acknowledgement(last, count > 1)] if count else []
        if settled:
            acknowledgements += [Acknowledgement(tag, False) for tag in sorted(settled)]
            beyond |= settled
            settled.clear()
        return acknowledgements


class Acknowledger:
    """Acknowledges what is settled on a channel: once in a turn of the loop, or where nobody waits for it, soon.

    To a quorum queue an acknowledgement is a write to the disk. The next publish would have to wait for it.

    Args:
        connection: of the channel.
        channel: its number.
        soon: seconds for which what nobody waits for may wait for what follows.
    """

    def __init__(self, connection: Connection, channel: int, *, soon: float = SOON) -> None:
        self._connection = connection
        self._channel = channel
        self._tags = Tags()
        self._soon = soon
        self._due: asyncio.Handle | None = None
        self._is_urgent = False
        self._is_closed = False
        self._loop = asyncio.get_running_loop()

    @property
    def settled(self) -> int:
        """How many deliveries are settled and not acknowledged."""
        return self._tags.settled

    def settle(self, tag: int, *, is_urgent: bool) -> None:
        """Acknowledge. On a channel that has ended it does nothing: its tags mean nothing any more.

        Args:
            tag: of the delivery.
            is_urgent: in the next turn of the loop, not just soon.
        """
        self._tags.settle(tag)
        if self._due is None:
            self._due = self._loop.call_soon(self.send) if is_urgent else self._loop.call_later(self._soon, self.send)
        elif is_urgent and not self._is_urgent:
            self._due.cancel()
            self._due = self._loop.call_soon(self.send)
        self._is_urgent |= is_urgent

    def send(self) -> None:
        """Acknowledge now what is settled."""
        if self._due is not None:
            self._due.cancel()
        self._due, self._is_urgent = None, False
        if self._is_closed or self._connection.ended.is_set():
            return
        frames = [acknowledgement.frame(self._channel) for acknowledgement in self._tags.take()]
        try:
            self._connection.writer.write(b"".join(frames))
        except (RuntimeError, AttributeError):  # reset while nothing was written: uvloop, and asyncio
            self._connection.abort()

    def close(self) -> None:
        """Say nothing more: the channel has ended. Its number may be another's soon."""
        self._is_closed = True
        if self._due is not None:
            self._due.cancel()
