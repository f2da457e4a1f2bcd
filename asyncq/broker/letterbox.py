"""The letterbox: where a process is told how its calls end, on a broker that keeps no results."""

import os
import secrets
from threading import Lock
from weakref import WeakKeyDictionary, WeakSet, WeakValueDictionary

from asyncq.tasks.calls import Waiting

LOST = "it may have been told in vain, for the reply queue of this process was lost"
ELSEWHERE = "it is told to the process that has published it, from which this one was forked"
NOT_KEPT = "its worker keeps no result"


class Letterbox:
    """The address of a process, and the calls whose ends are to be told there, whether or not anybody waits yet.

    It is there before any connection and stays through closing and opening: every call is published with it, and what
    is told while nobody listens waits in the reply queue. A forked process has another address: what its parent has
    published is told to the parent. Used from the session's loop, and from those that are about to open one.
    """

    def __init__(self) -> None:
        self._address = secrets.token_hex(16)
        self._pid = os.getpid()
        self._lock = Lock()
        self._expected: WeakValueDictionary[str, Waiting] = WeakValueDictionary()
        self._twins: WeakSet[Waiting] = WeakSet()  # of ids that were published twice here
        self._earlier: WeakSet[Waiting] = WeakSet()  # from before the broker was closed
        self._in_vain: WeakKeyDictionary[Waiting, str] = WeakKeyDictionary()

    @property
    def address(self) -> str:
        """What calls are published with."""
        if self._pid != os.getpid():
            self._pid = os.getpid()
            self._address = secrets.token_hex(16)
            self._lock = Lock()  # a thread that is not here may have held the other
            self.lose_all(ELSEWHERE)
        return self._address

    def expect(self, waiting: Waiting) -> None:
        """Keep what is told about this call for as long as the object lives."""
        with self._lock:
            twin = self._expected.get(waiting.id)
            if twin is not None:
                self._twins.add(twin)
            self._expected[waiting.id] = waiting

    def take(self, id: str, record: bytes | None) -> None:
        """Take in how a call has ended; None: nothing is told of that."""
        with self._lock:
            several = [each for each in list(self._twins) if each.id == id] if self._twins else []
            expected = self._expected.pop(id, None)
            if expected is not None:
                several.append(expected)
            for each in several:
                self._twins.discard(each)
                each.record = record
                if record is None:
                    self._lose(each, NOT_KEPT)

    def close(self) -> None:
        """Remember what was published so far: it is lost if the reply queue is gone when somebody listens again."""
        with self._lock:
            self._earlier.update(self._all())

    def lose_earlier(self) -> None:
        """Promise nobody any more to be told who has published before the last `close`."""
        with self._lock:
            for each in list(self._earlier):
                self._lose(each, LOST)
            self._earlier.clear()

    def lose_all(self, why: str = LOST) -> None:
        """Promise nobody any more to be told: it may have been told already. What is told all the same is taken."""
        with self._lock:
            for each in self._all():
                self._lose(each, why)

    def why_in_vain(self, waiting: Waiting) -> str:
        """Return why the end of a call that was published here will not be told; empty: it was not published here."""
        return self._in_vain.get(waiting, "")

    def _all(self) -> list[Waiting]:
        return [*self._expected.values(), *self._twins]

    def _lose(self, waiting: Waiting, why: str) -> None:
        if waiting.record is None:
            waiting.is_told = False
            self._in_vain[waiting] = why
