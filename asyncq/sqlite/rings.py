"""Rings: how one process tells another, through Unix datagrams, that there is something for it in the file.

What is told has been committed before, so a ring that is lost with its sender loses time but no message. What does not
fit into a receiver's socket is kept here, and sent as soon as it fits.

An address is `bell:line`. A bell is the end of the name of a socket beside the database file, or its absolute path; a
line is one of the things in that process that wait.
"""

import errno
import logging
import math
import os
import socket
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from asyncq.store import Address, Notice

logger = logging.getLogger("asyncq.sqlite")

HAS_DATAGRAMS: Final = hasattr(socket, "AF_UNIX")

POLLING: Final = "poll"
"""The bell of a process that looks by itself."""

MAX_DATAGRAM: Final = 60_000 if sys.platform == "linux" else 2_000
"""Bytes of notices in one datagram; macOS and the BSDs allow 2,048 in all by default."""

MAX_INLINE: Final = MAX_DATAGRAM // 15
"""A larger record does not travel in a ring; the receiver reads it from the file."""

MAX_KEPT: Final = 2_000
"""Notices kept for a receiver that does not read. Beyond it, it is told to look at everything."""

_FIRST_PAUSE: Final = 0.001
_LONGEST_PAUSE: Final = 0.25


class Ring(NamedTuple):
    """One thing to tell one line.

    Attributes:
        line: whom in the process.
        due_ms: for a consumer: a message is there that becomes due then; 0: that is ready.
        notices: for a listener: what has become of calls.

    With neither: look at everything, for a consumer also at what was severed from it.
    """

    line: int
    due_ms: int | None = None
    notices: list[Notice] | None = None


_encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(list[Ring])


def decode_rings(data: bytes) -> list[Ring]:
    """Return the rings of one datagram; none where it is not one of ours."""
    try:
        return _decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return []


def bell_path(database: Path, bell: str) -> str:
    """Return the path of a bell's socket."""
    return bell if bell.startswith("/") else f"{database}-{bell}"


def notice_of_end(id: str, record: bytes | None) -> Notice:
    """Return the notice that a call has ended, with its record where that is small."""
    return Notice(id, record if record is not None and len(record) <= MAX_INLINE else None, is_over=True)


class Ringer:
    """Sends rings. It belongs to one thread."""

    def __init__(self, database: Path) -> None:
        self._database = database
        self._socket: socket.socket | None = None
        self._kept: dict[str, list[Ring]] = {}
        self._pause = 0.0
        self._retry_at = 0.0
        self.dead: set[str] = set()
        """Bells whose process was found to be gone."""

    def ring(self, rings: Iterable[tuple[Address, Ring]]) -> None:
        """Send rings; the `line` of each is taken from its address."""
        posts: dict[str, list[Ring]] = {}
        for address, ring in rings:
            bell, _, line = address.rpartition(":")
            if bell != POLLING and line.isdigit():
                posts.setdefault(bell, []).append(ring._replace(line=int(line)))
        for bell, post in posts.items():
            if bell in self._kept:  # behind what waits already
                self._kept[bell] = _bounded(self._kept[bell] + post)
            else:
                self._send(bell, post)

    def seconds_to_retry(self) -> float:
        """Return how long `retry` has nothing to do; infinite when nothing is kept."""
        return max(0.0, self._retry_at - time.monotonic()) if self._kept else math.inf

    def retry(self) -> None:
        """Send what is kept to those that have room for it, if it is time to."""
        if not self._kept or time.monotonic() < self._retry_at:
            return
        kept, self._kept = self._kept, {}
        for bell, rings in kept.items():
            self._send(bell, rings)
        self._pause = min(2 * self._pause, _LONGEST_PAUSE) if self._kept else 0.0
        self._retry_at = time.monotonic() + self._pause

    def close(self) -> None:
        """Drop what is kept (its receivers have unread rings anyway) and close the socket."""
        self._kept.clear()
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, bell: str, rings: list[Ring]) -> None:
        path = bell_path(self._database, bell)
        parcels = list(_parcels(rings))
        for index, parcel in enumerate(parcels):
            try:
                self._open_socket().sendto(_encode(parcel), path)
            except OSError as error:
                self._take_back(bell, path, [ring for rest in parcels[index:] for ring in rest], error)
                return

    def _take_back(self, bell: str, path: str, rings: list[Ring], error: OSError) -> None:
        match error.errno:
            case errno.EAGAIN | errno.ENOBUFS:
                self._keep(bell, rings)
            case errno.EMSGSIZE:  # a system with smaller datagrams than we know of
                self._keep(bell, _orders_to_look(rings))
            case errno.ECONNREFUSED:  # its process died without removing it
                self.dead.add(bell)
                _remove(path)
            case errno.ENOENT:
                self.dead.add(bell)
            case _:
                logger.warning("Cannot wake the process at %r: %s.", path, error)

    def _keep(self, bell: str, rings: list[Ring]) -> None:
        self._kept[bell] = _bounded(rings)
        if self._pause == 0:
            self._pause = _FIRST_PAUSE
            self._retry_at = time.monotonic() + self._pause

    def _open_socket(self) -> socket.socket:
        if self._socket is None:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._socket.setblocking(False)
        return self._socket


def _bounded(rings: list[Ring]) -> list[Ring]:
    if sum(len(ring.notices or ()) + 1 for ring in rings) <= MAX_KEPT:
        return rings
    return _orders_to_look(rings)


def _orders_to_look(rings: list[Ring]) -> list[Ring]:
    return [Ring(line) for line in sorted({ring.line for ring in rings})]


def _parcels(rings: Sequence[Ring]) -> Iterator[list[Ring]]:
    """Divide rings into what fits into one datagram each."""
    parcel: list[Ring] = []
    size = 0
    for ring in rings:
        for part, weight in _parts(ring):
            if parcel and size + weight > MAX_DATAGRAM:
                yield parcel
                parcel, size = [], 0
            parcel.append(part)
            size += weight
    if parcel:
        yield parcel


def _parts(ring: Ring) -> Iterator[tuple[Ring, int]]:
    """Divide the notices of one ring, with an upper bound of each part's size."""
    part: list[Notice] = []
    size = 0
    for notice in ring.notices or ():
        weight = 4 * len(notice.id) + len(notice.record or b"") + len(notice.progress or b"") + 24
        if part and size + weight > MAX_DATAGRAM:
            yield Ring(ring.line, notices=part), size
            part, size = [], 0
        part.append(notice)
        size += weight
    yield Ring(ring.line, ring.due_ms, part if ring.notices is not None else None), size + 24


def _remove(path: str) -> None:
    with suppress(OSError):
        os.unlink(path)
