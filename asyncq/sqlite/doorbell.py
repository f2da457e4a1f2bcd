"""The doorbell: how a process hears that others have changed something in the file.

Where there are Unix datagram sockets it is one of those beside the file, and costs nothing while nobody rings.
Elsewhere the file's change counter is read fifty times a second.
"""

import asyncio
import logging
import os
import secrets
import socket
import sqlite3
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from asyncq.errors import BrokerUnavailable
from asyncq.sqlite.rings import HAS_DATAGRAMS, POLLING, Ring, bell_path, decode_rings
from asyncq.store import Address

logger = logging.getLogger("asyncq.sqlite")

_MAX_SOCKET_PATH: Final = 100
"""Bytes that every system takes; Linux takes 107, macOS 103."""

_MAX_RECEIVED: Final = 1 << 17
_MAX_AT_ONCE: Final = 64
"""Datagrams read before the event loop gets its turn."""

_POLL_EVERY: Final = 0.02


class Doorbell(ABC):
    """Hears rings and passes each on to the line it is for. It belongs to one event loop.

    Attributes:
        mends: how often it had been taken away and was put up again. Who rang meanwhile has noted that nobody hears.
    """

    def __init__(self) -> None:
        self.mends = 0
        self._lines: dict[int, Callable[[Ring], None]] = {}
        self._last_line = 0

    @property
    @abstractmethod
    def bell(self) -> str:
        """The part of its addresses that names this doorbell."""

    @abstractmethod
    def close(self) -> None:
        """Stop to hear, and remove what was made beside the file. From any thread once the loop is closed."""

    @abstractmethod
    def mend(self) -> None:
        """Be heard again, under the same addresses, where somebody has removed what was made beside the file."""

    def connect(self, answer: Callable[[Ring], None]) -> Address:
        """Return a new address; `answer` is called with each of its rings, on the event loop. It does not raise."""
        self._open()
        self._last_line += 1
        self._lines[self._last_line] = answer
        return f"{self.bell}:{self._last_line}"

    def disconnect(self, address: Address) -> None:
        """Forget an address."""
        self._lines.pop(int(address.rpartition(":")[2]), None)

    def ring_all(self) -> None:
        """Tell every line to look at everything."""
        for line, answer in list(self._lines.items()):
            answer(Ring(line))

    @abstractmethod
    def _open(self) -> None:
        """Start to hear, if that was not done before. The file is there."""

    def _answer(self, ring: Ring) -> None:
        if answer := self._lines.get(ring.line):
            answer(ring)


class SocketDoorbell(Doorbell):
    """A Unix datagram socket beside the file, or among the temporary files where that path is too long."""

    def __init__(self, database: Path) -> None:
        super().__init__()
        self._database = database
        self._bell = ""
        self._socket: socket.socket | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pid = 0

    @property
    def bell(self) -> str:
        return self._bell

    def close(self) -> None:
        if self._socket is None or self._loop is None:
            return
        if self._pid == os.getpid():  # a forked copy must leave its parent's alone
            if not self._loop.is_closed():
                self._loop.remove_reader(self._socket.fileno())
            with suppress(OSError):
                os.unlink(bell_path(self._database, self._bell))
        self._socket.close()
        self._socket = None

    def mend(self) -> None:
        if self._socket is None or os.path.exists(bell_path(self._database, self._bell)):
            return
        bound = _new_socket()
        try:
            self._bind_to_one_of(bound, (self._bell,))
        except BrokerUnavailable as error:
            logger.debug("Could not be heard again: %s", error)
            return
        self._stop_listening()
        self._listen_to(bound)
        self.mends += 1
        self.ring_all()

    def _open(self) -> None:
        if self._socket is not None:
            return
        name = secrets.token_hex(5)
        places = (name, str(Path(tempfile.gettempdir(), f"asyncq-{name}")), f"/tmp/asyncq-{name}")
        bound = _new_socket()
        self._bell = self._bind_to_one_of(bound, places)
        self._listen_to(bound)

    def _listen_to(self, bound: socket.socket) -> None:
        self._socket, self._pid = bound, os.getpid()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(bound.fileno(), self._receive)

    def _stop_listening(self) -> None:
        if self._socket is not None and self._loop is not None:
            self._loop.remove_reader(self._socket.fileno())
            self._socket.close()
            self._socket = None

    def _bind_to_one_of(self, bound: socket.socket, bells: tuple[str, ...]) -> str:
        fault: OSError | None = None
        for bell in bells:
            path = bell_path(self._database, bell)
            if len(os.fsencode(path)) > _MAX_SOCKET_PATH:
                continue
            try:
                bound.bind(path)
                # Whoever may write the file may ring.
                os.chmod(path, self._database.stat().st_mode & 0o777)
            except OSError as error:  # for one, a file system that has no sockets
                fault = error
            else:
                return bell
        bound.close()
        raise BrokerUnavailable(f"No socket could be made beside {str(self._database)!r}: {fault}.") from fault

    def _receive(self) -> None:
        if self._socket is None:
            return
        for _ in range(_MAX_AT_ONCE):
            try:
                data = self._socket.recv(_MAX_RECEIVED)
            except OSError:  # nothing more to read
                return
            for ring in decode_rings(data):
                self._answer(ring)


class PollingDoorbell(Doorbell):
    """Rings every line when the file has changed."""

    def __init__(self, database: Path) -> None:
        super().__init__()
        self._database = database
        self._connection: sqlite3.Connection | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._seen = 0

    @property
    def bell(self) -> str:
        return POLLING

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def mend(self) -> None:
        """Do nothing: there is nothing beside the file."""

    def _open(self) -> None:
        if self._connection is not None:
            return
        self._connection = sqlite3.connect(self._database, timeout=0, isolation_level=None, check_same_thread=False)
        self._poll()

    def _poll(self) -> None:
        if self._connection is None:
            return
        with suppress(sqlite3.OperationalError):  # locked for a moment: the next look will tell
            (version,) = self._connection.execute("PRAGMA data_version").fetchone()
            if version != self._seen:
                self._seen = version
                self.ring_all()
        self._timer = asyncio.get_running_loop().call_later(_POLL_EVERY, self._poll)


def _new_socket() -> socket.socket:
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    bound.setblocking(False)
    return bound


def doorbell_for(database: Path) -> Doorbell:
    """Return the best doorbell that this system has. It opens when something is connected to it."""
    return SocketDoorbell(database) if HAS_DATAGRAMS else PollingDoorbell(database)
