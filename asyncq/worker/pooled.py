"""A process of the pool, from inside: takes calls from its worker, one after the other, and dies with it."""

import ctypes
import faulthandler
import io
import logging
import os
import select
import signal
import socket
import sys
import time
from contextlib import suppress
from contextvars import copy_context
from signal import SIGKILL
from threading import RLock, Thread, Timer
from types import FrameType

import msgspec

from asyncq.broker import Broker
from asyncq.context import Context, current_loan, enter_context
from asyncq.errors import ConfigurationError
from asyncq.message import Message, decode_message
from asyncq.result import Progress
from asyncq.tasks import Task
from asyncq.worker.answers import Answer, Began, Encoded, Failed, Frames, Ready, Reported, framed_answer
from asyncq.worker.poolprocess import CHUNK, PoolCharge
from asyncq.worker.progress import INTERVAL
from asyncq.worker.raised import raised_of
from asyncq.worker.run import check_size, keeps_result, policy_of

PR_SET_PDEATHSIG = 1

IGNORED = (signal.SIGINT, signal.SIGHUP, signal.SIGTERM)

logger = logging.getLogger("asyncq.worker")


class PoolLine:
    """The line to the worker, from the start of the process to its end. Call `secure` before anything else."""

    def __init__(self, charge: PoolCharge) -> None:
        self._worker = charge.worker
        self._socket = socket.socket(fileno=charge.fd)
        self._socket.set_inheritable(False)  # what a function starts must not hold the line open
        self._frames = Frames()

    def secure(self) -> None:
        """Die when the worker dies, whatever runs here; and let it alone decide when else."""
        for number in IGNORED:  # with a handler, which a program that a function starts does not inherit
            signal.signal(number, _ignore)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, IGNORED)
        os.register_at_fork(after_in_child=self._forked)
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, SIGKILL)
        else:
            Thread(target=self._watch, name="asyncq-watch", daemon=True).start()
        if os.getppid() != self._worker:  # it died before that
            os._exit(1)

    def receive(self) -> bytes | None:
        """Wait for a call; None: there will be no more."""
        while data := self._socket.recv(CHUNK):
            for body in self._frames.feed(data):  # one at most: the next call follows the answer
                return body
        return None

    def send(self, answer: Answer) -> None:
        """Answer."""
        self._socket.sendall(framed_answer(answer))

    def _forked(self) -> None:
        """In a process that a function forks: it is nobody's pool process."""
        self._socket.close()
        for number in IGNORED:
            signal.signal(number, signal.SIG_DFL)

    def _watch(self) -> None:
        """End with the worker, of whose end macOS and the BSDs tell through a queue of events."""
        assert sys.platform != "linux", "which tells by a signal"
        with suppress(OSError):  # it is gone already
            ended = select.kevent(self._worker, select.KQ_FILTER_PROC, select.KQ_EV_ADD, select.KQ_NOTE_EXIT)
            select.kqueue().control([ended], 1)
        os._exit(1)


class NoLoan:
    """Stands for the slot of a function in a process, which cannot be lent out from there."""

    def lend(self) -> None:
        """Refuse to wait: with its slot and its process taken, the other task might never run."""
        raise ConfigurationError(
            "A task that runs in a process cannot wait for another task: while it did, its slot could not be lent out. "
            'Return, and let the other one go on; or run this one in a thread (runs_in="thread").'
        )

    def give_way(self) -> None:
        """Do nothing: nothing was lent."""

    async def take_back(self) -> None:
        """Do nothing: nothing was lent."""

    def take_back_at_once(self) -> None:
        """Do nothing: nothing was lent."""


def serve(broker: Broker, line: PoolLine) -> None:
    """Run the calls that the worker sends until it sends no more."""
    _see_prints()
    if not broker.capabilities.is_shared:
        broker.refuse_to_open(
            f"{broker!r} is in the worker's process only: a task that runs in a process of its own cannot use it. "
            "Use SQLiteBroker or RedisBroker, or run the task in a thread."
        )
    callee = Callee(broker, line)
    line.send(Ready())
    while (body := line.receive()) is not None:
        line.send(Began())
        answer = copy_context().run(callee.answer, body)
        for stream in (sys.stdout, sys.stderr):
            with suppress(Exception):  # there is none, or nobody reads it, or it is a function's own
                stream.flush()
        line.send(answer)


class Callee:
    """Runs calls with the broker's tasks, and turns what comes of them into answers."""

    def __init__(self, broker: Broker, line: PoolLine) -> None:
        self._broker = broker
        self._reports = Reports(line)
        self._report = self._reports.take if broker.capabilities.has_memory else self._refuse

    def answer(self, body: bytes) -> Answer:
        """Run a call. Whatever the function raises is an answer."""
        message = decode_message(body)
        policy = None
        try:
            task = self._broker.tasks.find(message.task)
            policy = policy_of(task, message)
            value = self._call(task, message)
        except BaseException as error:
            return Failed(raised_of(error, policy))
        finally:
            self._reports.end()
        if not keeps_result(task, message):
            return Encoded()
        try:
            encoded = msgspec.json.encode(task.returned.encode(value))
            check_size(task, len(encoded), self._broker.max_result_size)
        except (TypeError, ValueError, RecursionError) as error:
            return Encoded(refusal=raised_of(error, policy))
        return Encoded(msgspec.Raw(encoded))

    def _call(self, task: Task[..., object], message: Message) -> object:
        args, kwargs = task.arguments.decode(message.args, message.kwargs)
        context = Context(message, self._broker, self._report)
        self._reports.begin(context)
        for name in task.injected:
            kwargs[name] = context
        enter_context(context)
        current_loan.set(NoLoan())
        return task.function(*args, **kwargs)

    def _refuse(self, _context: Context, _progress: Progress) -> None:
        raise self._broker.capabilities.without_memory("progress()")


class Reports:
    """Sends what the function of a call reports, from any of its threads, as often as the worker passes it on.

    The first goes at once, the latest always. What a thread that outlives the call reports is dropped: on the line it
    would mix with the answer, or pass for a report of the next call.
    """

    def __init__(self, line: PoolLine) -> None:
        self._line = line
        self._context: Context | None = None
        self._unsent: Progress | None = None
        self._sent_at = 0.0
        self._timer: Timer | None = None
        self._lock = RLock()
        os.register_at_fork(after_in_child=self._forked)

    def begin(self, context: Context) -> None:
        """Take the reports of this call from now on."""
        self._context = context
        self._sent_at = 0.0

    def end(self) -> None:
        """Send the last report, and take no more of this call."""
        with self._lock:
            self._send()
            self._context = None

    def take(self, context: Context, progress: Progress) -> None:
        """Send a report now, or in a moment if it is still the latest then."""
        with self._lock:
            if context is not self._context:
                return
            self._unsent = progress
            left = self._sent_at + INTERVAL - time.monotonic()
            if left <= 0:
                self._send()
            elif self._timer is None:
                self._timer = Timer(left, self._send_latest)
                self._timer.daemon = True
                self._timer.start()

    def _send_latest(self) -> None:
        with self._lock:
            self._send()

    def _send(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        progress, self._unsent = self._unsent, None
        if progress is not None:
            self._sent_at = time.monotonic()
            self._line.send(Reported(progress.done, progress.total, progress.note))

    def _forked(self) -> None:
        """In a process that the function forks: nothing is sent from there."""
        self._context = None
        self._lock = RLock()  # a thread that is not there any more may have held the other


def _see_prints() -> None:
    """Have each line that a function prints seen at once, also if the process is killed after it, or crashes."""
    with suppress(RuntimeError, ValueError, OSError):  # there is no stderr
        faulthandler.enable()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(line_buffering=True)


def _ignore(_number: int, _frame: FrameType | None) -> None:
    """Do nothing: the worker decides."""
