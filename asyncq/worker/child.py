"""The child's end of the line to its supervisor: orders come in, and how far the start has got goes out.

Orders are lines: `stop` (finish what runs, within the time for it), `retire` (the same without a limit: a successor
has started), `abort` (end at once) and `release NAME...` (these workers are dead). The end of the line is the death
of the supervisor. The child says `loaded` once its application is imported, `started` once its worker runs, and
`spent` when it should be replaced.
"""

import logging
import os
import signal
import socket
from asyncio import AbstractEventLoop
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from threading import Thread, Timer
from typing import NamedTuple, Protocol, Self

from asyncq.worker.exits import end_within

LAST_MOMENT = 0.7
"""Seconds that an orphan has to hand back what it holds, so that it is gone within one second."""

AT_ONCE = 2.0
"""Seconds after the order to end at once until the process is ended by force."""

logger = logging.getLogger("asyncq.worker")


class Obedient(Protocol):
    """What orders are for: a worker. Its methods are called on its loop's thread."""

    def stop(self) -> None:
        """Stop gracefully; called again, at once."""
        ...

    def retire(self) -> None:
        """Start nothing more, and end when what runs has ended."""
        ...

    def release(self, names: Sequence[str]) -> None:
        """Hand back what these dead workers held."""
        ...


@dataclass(frozen=True, slots=True)
class Charge:
    """What a supervisor tells its child on the command line, as `FD:NAME` or `FD:NAME:first`.

    Attributes:
        fd: the child's end of the line.
        name: of the worker; unique for ever.
        is_first: this child says what is started; its siblings need not.
    """

    fd: int
    name: str
    is_first: bool = False

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the charge that is spelled so."""
        fd, name, *rest = text.split(":")
        return cls(int(fd), name, rest == ["first"])

    def __str__(self) -> str:
        return f"{self.fd}:{self.name}" + ":first" * self.is_first


class Attached(NamedTuple):
    """Who obeys, and where."""

    worker: Obedient
    loop: AbstractEventLoop


class Line:
    """The line, from the start of the process to its end: it is never closed.

    A thread of its own listens, so that a task which blocks the loop cannot keep an orphan alive.
    """

    def __init__(self, fd: int) -> None:
        self._socket = socket.socket(fileno=fd)
        self._socket.set_inheritable(False)  # a program that a task starts must not hold the line open
        self._attached: Attached | None = None
        self._is_stopping = False

    def listen(self) -> None:
        """Obey from now on. Until `attach`, an order to stop ends the process: it holds nothing yet."""
        for number in (signal.SIGINT, signal.SIGHUP):  # a terminal sends them to everybody; the supervisor decides
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT, signal.SIGHUP])
        Thread(target=self._listen, name="asyncq-orders", daemon=True).start()

    def attach(self, worker: Obedient, loop: AbstractEventLoop) -> None:
        """Pass orders on to this worker. SIGTERM becomes one: a service manager may send it to every process."""
        self._attached = Attached(worker, loop)
        loop.add_signal_handler(signal.SIGTERM, self._stop)

    def tell(self, word: str) -> None:
        """Tell the supervisor how far the start has got."""
        with suppress(OSError):  # it is gone, and the listener sees to that
            self._socket.sendall(f"{word}\n".encode())

    def _listen(self) -> None:
        with suppress(OSError), self._socket.makefile("r") as lines:
            for line in lines:
                self._obey(*line.split())
        self._post(self._abort)
        # In a thread of its own: a loop that is blocked can't keep a deadline. The loop hands back meanwhile, and ends
        # the process, with this thread, when it has.
        deadline = Timer(LAST_MOMENT, os._exit, (1,))
        deadline.daemon = True
        deadline.start()

    def _obey(self, order: str, *names: str) -> None:
        match order:
            case "stop":
                self._post(self._stop)
            case "retire" if self._attached:
                self._post(self._attached.worker.retire)
            case "abort":
                end_within(AT_ONCE, 1)
                self._post(self._abort)
            case "release" if self._attached:
                self._post(self._attached.worker.release, names)
            case _:
                logger.error("The supervisor gave an order that means nothing here: %s", order)

    def _post(self, call: Callable[..., None], *arguments: object) -> None:
        if self._attached is None:
            os._exit(0)
        with suppress(RuntimeError):  # the loop is closed: the process is ending
            self._attached.loop.call_soon_threadsafe(call, *arguments)

    def _stop(self) -> None:
        # The same order may come twice, as SIGTERM and from the supervisor; only `abort` means at once.
        if self._attached and not self._is_stopping:
            self._is_stopping = True
            self._attached.worker.stop()

    def _abort(self) -> None:
        self._stop()
        if self._attached:
            self._attached.worker.stop()
