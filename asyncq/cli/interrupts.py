"""Interrupts: what SIGTERM and Ctrl-C do to a worker that has its process to itself."""

import asyncio
import logging
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from threading import Thread
from typing import Protocol

from asyncq.worker.child import AT_ONCE
from asyncq.worker.exits import end_within

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)

logger = logging.getLogger("asyncq.worker")


class Stoppable(Protocol):
    """What is to be stopped: a worker, or a scheduler."""

    def stop(self) -> None:
        """Stop gracefully; a second time: at once."""
        ...


class Interrupts:
    """SIGTERM and SIGINT: the first stops the worker gracefully, the second at once.

    A thread listens for them. The main thread, where Python calls handlers, may be blocked by a task, and sleeps on if
    the system happens to deliver the signal to another thread.
    """

    def __init__(self, worker: Stoppable, loop: asyncio.AbstractEventLoop) -> None:
        self._worker = worker
        self._loop = loop
        self._ours, self._theirs = socket.socketpair()
        self._theirs.setblocking(False)
        self._count = 0

    def install(self) -> None:
        """Take the signals over, for the rest of the process's life. On the loop's thread, while it runs."""
        for number in STOP_SIGNALS:
            signal.signal(number, lambda _number, _frame: None)  # without one, the signal would end the process
        # In place of the loop's own: whatever arrives wakes the loop all the same, through us.
        signal.set_wakeup_fd(self._theirs.fileno(), warn_on_full_buffer=False)
        Thread(target=self._listen, name="asyncq-signals", daemon=True).start()

    def _listen(self) -> None:
        while True:
            for number in self._ours.recv(64):
                with suppress(RuntimeError):  # the loop is closed: the process is ending
                    self._loop.call_soon_threadsafe(self._order() if number in STOP_SIGNALS else _wake)

    def _order(self) -> Callable[[], None]:
        self._count += 1
        if self._count == 1:
            logger.info("Stopping. Again to stop at once.")
        elif self._count == 2:
            logger.info("Stopping at once.")
            end_within(AT_ONCE, 1)
        return self._worker.stop


def _wake() -> None:
    """Do nothing: before that, Python calls the handlers of signals that have arrived."""
