"""The consumer: fetches what has arrived, and settles it."""

import asyncio
import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from asyncq.errors import BrokerUnavailable, LeaseLost
from asyncq.rabbitmq.client import RabbitClient
from asyncq.rabbitmq.deliveries import Arrival
from asyncq.rabbitmq.letters import LetterBox
from asyncq.rabbitmq.receiving import Intake
from asyncq.rabbitmq.returning import Returning
from asyncq.rabbitmq.settling import Settling
from asyncq.rabbitmq.wire import crashes_of, due_of
from asyncq.transport import SUSPECT_CRASHES, Consumer, Delivery, NoLease, Settlement


class RabbitConsumer(Consumer):
    """A worker's end of some queues.

    The server pushes what it may into the buffers of the intakes; `fetch` takes from there: it picks what fits, and
    lends it.

    Args:
        client: its connections.
        name: unique for ever.
        queues: that are consumed.
        now_ms: the time.
        letters: where dead letters are kept within bounds.
    """

    def __init__(
        self, client: RabbitClient, name: str, queues: Sequence[str], now_ms: Callable[[], int], letters: LetterBox
    ) -> None:
        self.name = name
        self._wire = client.wire
        self._now_ms = now_ms
        self._event = asyncio.Event()
        self._intakes = {queue: Intake(client, queue, self._told) for queue in queues}
        self._settling = Settling(client, now_ms, letters)
        self._returning = Returning(client, now_ms, self._intakes.values())
        self._number = 0
        self._command_timeout = client.command_timeout
        self._is_interrupted = False
        self._has_left = False

    @property
    def answered_at(self) -> float:
        return min(intake.answered_at for intake in self._intakes.values())

    async def run(self, severed: Callable[[Sequence[str]], None]) -> None:
        """Keep the queues consumed. Nothing is ever severed: without a memory nothing is withdrawn."""
        async with asyncio.TaskGroup() as doers:
            for intake in self._intakes.values():
                doers.create_task(intake.run())
            doers.create_task(self._returning.run())

    async def fetch(
        self, limits: Mapping[str, int], count: int, *, wait: bool = True, suspects: int = 1
    ) -> Sequence[Delivery]:
        if self._has_left:
            raise LeaseLost(f"Consumer {self.name!r} has left; go on under a new name.")
        wanted = {queue: limit for queue, limit in limits.items() if limit > 0}
        self._returning.begin_fetch()
        try:
            deliveries = self._take(wanted, count, suspects)
            if not deliveries and not wait:
                await self._probe(wanted)
                return self._take(wanted, count, suspects)
            while not deliveries and not self._is_interrupted:
                self._check(wanted)
                await self._event.wait()
                deliveries = self._take(wanted, count, suspects)
        finally:
            self._returning.end_fetch()
        self._is_interrupted = False
        return deliveries

    async def interrupt(self) -> None:
        self._is_interrupted = True
        self._event.set()

    async def settle(self, settlements: Sequence[Settlement]) -> Sequence[bool]:
        return await self._settling.settle(settlements)

    async def absolve(self) -> None:
        """Do nothing: the server itself has seen who died."""

    def lease(self) -> NoLease:
        return NoLease()

    async def leave(self) -> int:
        self._has_left = True
        self._event.set()
        intakes = self._intakes.values()
        for intake in intakes:
            await intake.stop()
        held = self._settling.take_held()
        waiting = [arrival for intake in intakes for arrival in intake.take_older_than(math.inf)]
        try:
            await self._returning.hand_back([*held, *waiting])
        finally:
            for intake in intakes:
                with suppress(BrokerUnavailable):  # then its messages go back without our doing
                    await intake.close()
        return len(held)

    def intake(self, queue: str) -> Intake | None:
        """Return what has been sent ahead of a queue."""
        return None if self._has_left else self._intakes.get(queue)

    def _told(self) -> None:
        self._event.set()
        self._returning.wake()

    def _take(self, limits: Mapping[str, int], count: int, suspects: int) -> list[Delivery]:
        """Take what may be taken of the buffers, and let the server send more."""
        self._event.clear()
        deliveries: list[Delivery] = []
        for queue, limit in limits.items():
            intake = self._intakes[queue]
            before, most = len(deliveries), min(limit, count - len(deliveries))
            if intake.buffer and most:
                suspects -= self._pick(intake, most, suspects, deliveries)
            taken = len(deliveries) - before
            intake.want(limit - taken, most - taken)
        return deliveries

    def _pick(self, intake: Intake, count: int, suspects: int, deliveries: list[Delivery]) -> int:
        """Move up to so many from a buffer among the deliveries; return how many suspects are among them."""
        queue, buffer = intake.queue, intake.buffer
        if self._wire.has_priorities(queue):
            buffer = deque(sorted(buffer, key=_server_priority, reverse=True))
        passed_over: list[Arrival] = []
        lent = 0
        while buffer and count:
            arrival = buffer.popleft()
            crashes = 0
            if arrival.properties.headers or arrival.is_redelivered:
                if due_of(arrival) > self._now_ms():
                    self._returning.send_on(arrival)
                    continue
                crashes = crashes_of(arrival)
                if crashes >= SUSPECT_CRASHES and lent >= suspects:
                    passed_over.append(arrival)
                    continue
            lent += crashes >= SUSPECT_CRASHES
            deliveries.append(self._lend(arrival, crashes))
            count -= 1
        buffer.extendleft(reversed(passed_over))
        intake.buffer = buffer
        return lent

    def _lend(self, arrival: Arrival, crashes: int) -> Delivery:
        self._number += 1
        token = f"{self.name}/{self._number}"
        self._settling.hold(token, arrival)
        return self._wire.delivery(arrival, token, crashes)

    async def _probe(self, limits: Mapping[str, int]) -> None:
        """See to it that something has arrived of every queue in which something is ready."""
        self._check(limits)
        probes = [self._intakes[queue].probe() for queue in limits]
        if probes:
            _, late = await asyncio.wait(probes, timeout=self._command_timeout)
            if late:
                raise BrokerUnavailable(f"RabbitMQ did not answer within {self._command_timeout:g} s.")
            for probe in probes:
                probe.result()

    def _check(self, limits: Mapping[str, int]) -> None:
        for queue in limits:
            fault = self._intakes[queue].fault
            if fault is not None:
                raise BrokerUnavailable(*fault.args) from fault


def _server_priority(arrival: Arrival) -> int:
    return arrival.properties.priority
