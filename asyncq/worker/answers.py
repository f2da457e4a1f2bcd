"""What a worker and a process of its pool say to each other, and how: frames of JSON on a socket.

The worker sends a call as its message stands in the broker. The process says `Ready` once it can take calls, and for
each call `Began`, any number of `Reported`, and at the end `Encoded` or `Failed`. The end of the line is the end of
either.
"""

import struct
from typing import Any, TypeAlias

import msgspec

from asyncq.worker.raised import Raised, RemoteError

_LENGTH = struct.Struct("!I")


class Ready(msgspec.Struct, frozen=True, tag=True):
    """The application is imported: the process takes calls."""


class Began(msgspec.Struct, frozen=True, tag=True):
    """The process has a call: if it dies from now on, it may be of this one."""


class Reported(msgspec.Struct, frozen=True, tag=True):
    """The function said how far it is."""

    done: float
    total: float | None
    note: str


class Encoded(msgspec.Struct, frozen=True, tag=True):
    """What the function returned, made ready by its task; or why that could not be done.

    Attributes:
        value: as JSON; null where the call keeps no result.
        refusal: the value cannot travel, or is too large.
    """

    value: msgspec.Raw = msgspec.Raw(b"null")
    refusal: Raised | None = None

    def json(self) -> msgspec.Raw:
        """Return the value's JSON. Raises RemoteError where there is none."""
        if self.refusal is not None:
            raise RemoteError(self.refusal)
        return self.value


class Failed(msgspec.Struct, frozen=True, tag=True):
    """What the function raised."""

    raised: Raised


Answer: TypeAlias = Ready | Began | Reported | Encoded | Failed

_answers = msgspec.json.Decoder[Any](Answer)


def framed(body: bytes) -> bytes:
    """Return the bytes that go over the line, their length ahead of them."""
    return _LENGTH.pack(len(body)) + body


def framed_answer(answer: Answer) -> bytes:
    """Return the frame of an answer."""
    return framed(msgspec.json.encode(answer))


class Frames:
    """Puts together what arrives in pieces."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Take what has arrived; return the bodies that are complete."""
        self._rest += data
        bodies: list[bytes] = []
        while len(self._rest) >= _LENGTH.size:
            end = _LENGTH.size + _LENGTH.unpack_from(self._rest)[0]
            if len(self._rest) < end:
                break
            bodies.append(bytes(self._rest[_LENGTH.size : end]))
            del self._rest[:end]
        return bodies


def answer_in(body: bytes) -> Answer:
    """Return the answer that these bytes are."""
    return _answers.decode(body)
