"""The audience: who in a process waits for the ends of calls, whichever way they are learnt."""

import asyncio
from abc import ABC, abstractmethod

from asyncq.broker.waits import Waits
from asyncq.context import current_loan
from asyncq.errors import ResultMissing, ResultTimeout
from asyncq.result import Record, decode_record
from asyncq.tasks.calls import Waiting


class Audience(ABC):
    """Waits for results on behalf of any number of tasks. A task that waits lends its slot out."""

    def __init__(self) -> None:
        self._waits = Waits()
        self._is_running = False

    @abstractmethod
    def expect(self, waiting: Waiting) -> None:
        """Keep what is told about this call for as long as the object lives, whether or not anybody waits yet."""

    async def wait(self, waiting: Waiting, *, timeout: float | None, wait_for_publish: float) -> Record:
        """Return how the call ended.

        Raises:
            ResultTimeout: not within `timeout` seconds.
            ResultMissing: nobody knows the id, or its result is not kept (any more).
            NotSupported: only a memory could tell.
        """
        if not self._is_running:
            await self._begin()
        if waiting.record is None and timeout == 0:
            return await self._record_now(waiting)
        wait, future = self._waits.add(waiting)
        loan = current_loan.get()
        if loan is not None:
            loan.lend()
            wait.loans = (*wait.loans, loan)
        scope = asyncio.timeout(timeout)
        try:
            async with scope:
                record = await self._told(waiting, future, wait_for_publish)
        except TimeoutError:
            if not scope.expired():
                raise
            raise ResultTimeout(f"Call {waiting.id!r} did not end within {timeout:g} s; it goes on.") from None
        except asyncio.CancelledError:
            if loan is not None:
                loan.take_back_at_once()  # its time limit, or the worker's, does not wait for a slot
                loan = None
            raise
        finally:
            self._waits.remove(waiting.id, wait, future)
            if loan is not None:
                await loan.take_back()
        if record is None:
            raise missing(waiting.id)
        return decode_record(record)

    @abstractmethod
    def close(self) -> None:
        """Let nobody wait for what nobody listens to any more."""

    @abstractmethod
    async def _begin(self) -> None:
        """Begin to listen, and set `_is_running`."""

    @abstractmethod
    async def _record_now(self, waiting: Waiting) -> Record:
        """Return how the call ended, without waiting for that. Raises what `wait` raises."""

    @abstractmethod
    async def _told(
        self, waiting: Waiting, future: "asyncio.Future[bytes | None]", wait_for_publish: float
    ) -> bytes | None:
        """Return the encoded result, by the future or otherwise; None: there is none."""


def missing(id: str) -> ResultMissing:
    """Return the error of who waits for a call that there is no result of."""
    return ResultMissing(f"No result of call {id!r}: nobody knows the id, or its result is not kept (any more).")


def not_ended(id: str) -> ResultTimeout:
    """Return the error of who only wanted to look."""
    return ResultTimeout(f"Call {id!r} has not ended yet.")
