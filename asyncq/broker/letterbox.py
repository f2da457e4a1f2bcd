"""The letterbox: where a process is told how its calls end, on a broker that keeps no results."""

import os
import secrets
from weakref import WeakKeyDictionary, WeakSet, WeakValueDictionary

from asyncq.tasks.calls import Waiting

LOST = "it may have been told while nobody here could hear it: the broker was closed, or lost its reply queue"
NOT_KEPT = "its worker keeps no result"


class Letterbox:
    """The address of a process, and the calls whose ends are to be told there, whether or not anybody waits yet.

    It is there before any connection and stays through closing and opening, so that every call is published with it. A
    forked process has another address: what its parent has published is told to the parent.
    """

    def __init__(self) -> None:
        self._address = ""
        self._pid = 0
        self._expected: WeakValueDictionary[str, Waiting] = WeakValueDictionary()
        self._twins: WeakSet[Waiting] = WeakSet()  # of ids that were published twice here
        self._in_vain: WeakKeyDictionary[Waiting, str] = WeakKeyDictionary()

    @property
    def address(self) -> str:
        """What calls are published with."""
        if self._pid != os.getpid():
            self.lose_all()
            self._pid = os.getpid()
            self._address = secrets.token_hex(16)
        return self._address

    def expect(self, waiting: Waiting) -> None:
        """Keep what is told about this call for as long as the object lives."""
        twin = self._expected.get(waiting.id)
        if twin is not None:
            self._twins.add(twin)
        self._expected[waiting.id] = waiting

    def take(self, id: str, record: bytes | None) -> None:
        """Take in how a call has ended; None: nothing is told of that."""
        several = [each for each in list(self._twins) if each.id == id] if self._twins else []
        expected = self._expected.pop(id, None)
        if expected is not None:
            several.append(expected)
        for each in several:
            self._twins.discard(each)
            each.record = record
            if record is None:
                self._lose(each, NOT_KEPT)

    def lose_all(self) -> None:
        """Promise nobody any more to be told: it may have been told already. What is told all the same is taken."""
        for each in (*self._expected.values(), *self._twins):
            self._lose(each, LOST)

    def why_in_vain(self, waiting: Waiting) -> str:
        """Return why the end of a call that was published here will not be told; empty: it was not published here."""
        return self._in_vain.get(waiting, "")

    def _lose(self, waiting: Waiting, why: str) -> None:
        waiting.is_told = False
        self._in_vain[waiting] = why
