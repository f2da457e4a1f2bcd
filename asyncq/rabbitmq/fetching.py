"""The fetching: what a consumer does to get at what has arrived, whether or not somebody remembers the calls."""

import asyncio
from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from typing import Any

from asyncq.errors import BrokerUnavailable, LeaseLost
from asyncq.rabbitmq.client import RabbitClient
from asyncq.rabbitmq.deliveries import Arrival
from asyncq.rabbitmq.receiving import Intake
from asyncq.rabbitmq.returning import Returning
from asyncq.rabbitmq.wire import Facts
from asyncq.timeouts import AnswerTimeout
from asyncq.transport import Consumer, Delivery


class FetchingConsumer(Consumer):
    """A worker's end of some queues.

    The server pushes what it may into the buffers of the intakes; `fetch` takes from there: it picks what fits, and
    lends it.

    Args:
        client: its connections.
        name: unique for ever.
        queues: that are consumed.
        now_ms: the time.
        facts_of: what a message goes on saying when it is sent back, or on.
    """

    def __init__(
        self,
        client: RabbitClient,
        name: str,
        queues: Sequence[str],
        now_ms: Callable[[], int],
        facts_of: Callable[[Arrival], Facts],
    ) -> None:
        self.name = name
        self._wire = client.wire
        self._event = asyncio.Event()
        self._intakes = {queue: Intake(client, queue, self._told) for queue in queues}
        self._returning = Returning(client, now_ms, self._intakes.values(), facts_of, self._event.set, self._is_known)
        self._command_timeout = client.command_timeout
        self._is_interrupted = False
        self._has_left = False

    @property
    def answered_at(self) -> float:
        return min(intake.answered_at for intake in self._intakes.values())

    async def fetch(
        self, limits: Mapping[str, int], count: int, *, wait: bool = True, suspects: int = 1
    ) -> Sequence[Delivery]:
        wanted = {queue: limit for queue, limit in limits.items() if limit > 0}
        self._returning.begin_fetch()
        try:
            deliveries = await self._taken(wanted, count, suspects)
            if not deliveries and not wait:
                await self._probe(wanted)
                return await self._taken(wanted, count, suspects)
            while not deliveries and not self._is_interrupted:
                self._check(wanted)
                await self._wait()
                deliveries = await self._taken(wanted, count, suspects)
        finally:
            self._returning.end_fetch()
        self._is_interrupted = False
        return deliveries

    async def interrupt(self) -> None:
        self._is_interrupted = True
        self._event.set()

    def intake(self, queue: str) -> Intake | None:
        """Return what has been sent ahead of a queue."""
        return None if self._has_left else self._intakes.get(queue)

    @abstractmethod
    async def _take(self, limits: Mapping[str, int], count: int, suspects: int) -> Sequence[Delivery]:
        """Take what may be taken of the buffers, and let the server send more."""

    async def _wait(self) -> None:
        """Wait until fetching may be worth a try."""
        await self._event.wait()

    def _is_known(self, arrival: Arrival) -> bool:
        """Tell whether a message runs here already; if so, take care of this copy."""
        return False

    async def _taken(self, limits: Mapping[str, int], count: int, suspects: int) -> Sequence[Delivery]:
        if self._has_left:
            raise LeaseLost(f"Consumer {self.name!r} has left; go on under a new name.")
        self._event.clear()
        return await self._take(limits, count, suspects)

    async def _keep_up(self, *others: Coroutine[Any, Any, None]) -> None:
        """Keep the queues consumed, and run other doers beside that."""
        async with asyncio.TaskGroup() as doers:
            for other in others:
                doers.create_task(other)
            for intake in self._intakes.values():
                doers.create_task(intake.run())
            doers.create_task(self._returning.run())

    async def _stop_intakes(self) -> None:
        """Let nothing arrive any more, and no fetch go on."""
        self._has_left = True
        self._event.set()
        for intake in self._intakes.values():
            await intake.stop()

    async def _close_intakes(self) -> None:
        """Give the channels back: what was not acknowledged goes to others."""
        for intake in self._intakes.values():
            with suppress(BrokerUnavailable):  # then its messages go back without our doing
                await intake.close()

    def _told(self) -> None:
        self._event.set()
        self._returning.wake()

    def _in_order(self, intake: Intake) -> deque[Arrival]:
        """Return its buffer, what has a larger priority first, where its queue has any."""
        if self._wire.has_priorities(intake.queue):
            intake.buffer = deque(sorted(intake.buffer, key=_server_priority, reverse=True))
        return intake.buffer

    async def _probe(self, limits: Mapping[str, int]) -> None:
        """See to it that something has arrived of every queue in which something is ready."""
        self._check(limits)
        probes = [self._intakes[queue].probe() for queue in limits]
        if probes:
            try:
                async with AnswerTimeout(self._command_timeout):
                    await asyncio.wait(probes)
            except TimeoutError as error:
                raise BrokerUnavailable(f"RabbitMQ did not answer within {self._command_timeout:g} s.") from error
            for probe in probes:
                probe.result()

    def _check(self, limits: Mapping[str, int]) -> None:
        for queue in limits:
            fault = self._intakes[queue].fault
            if fault is not None:
                raise BrokerUnavailable(*fault.args) from fault


def _server_priority(arrival: Arrival) -> int:
    return arrival.properties.priority
