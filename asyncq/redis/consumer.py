"""The consumer: fetches with one blocking read, and knows when the next message becomes due."""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, cast

from asyncq.errors import BrokerUnavailable, LeaseLost
from asyncq.redis.client import RedisClient
from asyncq.redis.holdings import Holdings
from asyncq.redis.keys import KeySpace
from asyncq.redis.lease import RedisLease
from asyncq.redis.orders import Orders
from asyncq.redis.script import all_scripts
from asyncq.redis.server import Call, Command, Reply, call
from asyncq.redis.settling import SettlementBatch
from asyncq.redis.takeover import INTERRUPT_MS, RECLAIM, absolve, end_memberships
from asyncq.transport import Consumer, Delivery, Departure, Settlement

BLOCK_SECONDS = 20
"""A blocking read: long, so that an idle worker costs nothing, and short enough to find out that nobody answers."""

BLOCK_MARGIN = 5
"""How much longer than that the server may take before its connection counts as dead, if no other tells sooner."""

MAX_FETCH = 1_000
"""Most that one fetch takes: a script holds up everybody else while it runs."""

NOT_A_MEMBER, GIVEN_UP = -1, -2
"""Answers of scripts/fetch.lua."""


class RedisConsumer(Consumer):
    """A member of some queues.

    While nothing is ready it waits in one write of two commands: a blocking pop of a token that whoever publishes
    leaves, and the script that fetches, which the server runs as soon as the pop returns. Whatever the server takes for
    running here that is not (`Holdings`) goes back to its place.
    """

    def __init__(self, client: RedisClient, space: KeySpace, name: str, lease_ms: int, dead_cap: int) -> None:
        self.name = name
        self._client = client
        self._space = space
        self._lease_ms = lease_ms
        self._dead_cap = dead_cap
        self._link = client.link()
        self._alarm = _Alarm(client, space)
        self._orders = Orders(client, space, name)
        self._holdings = Holdings(space, name, self._link, reclaim=RECLAIM)
        self._was_short = False
        self._is_blocked = False
        self._is_interrupted = False
        self._has_left = False
        self._answered_at = time.monotonic()

    @property
    def answered_at(self) -> float:
        return self._answered_at

    async def run(self, severed: Callable[[Sequence[str]], None]) -> None:
        """Wake a consumer, this one or another, whenever something becomes due; and take orders."""

        def lose(tokens: Sequence[str]) -> None:
            self._holdings.drop(tokens)
            severed(tokens)

        async with asyncio.TaskGroup() as doers:
            doers.create_task(self._alarm.run())
            doers.create_task(self._orders.run(lose))
            doers.create_task(self._client.lookout.run())

    async def fetch(
        self, limits: Mapping[str, int], count: int, *, wait: bool = True, suspects: int = 1
    ) -> Sequence[Delivery]:
        if self._has_left:
            raise self._lost()
        if self._holdings.is_doubtful:
            await self._holdings.reconcile(self._client.server.command_timeout)
            self._was_short = False
        wanted = {queue: limit for queue, limit in limits.items() if limit > 0}
        # What came short last time has left nothing behind: what came since then has left a token.
        if not (wait and self._was_short):
            deliveries = await self._take(wanted, count, suspects, blocks=False) if wanted else []
            if deliveries or not wait:
                return deliveries
        deliveries = [] if self._is_interrupted else await self._take(wanted, count, suspects, blocks=True)
        self._is_interrupted = False
        return deliveries

    async def interrupt(self) -> None:
        self._is_interrupted = True
        if self._is_blocked:
            command = call("interrupt", self._space.own, self.name, INTERRUPT_MS)
            await self._client.commands.call([command], wanted="interrupt a fetch")

    async def settle(self, settlements: Sequence[Settlement]) -> Sequence[bool]:
        """End deliveries.

        It is tried once: only the caller knows that a False is no news when the same was sent before.
        """
        batch = SettlementBatch(settlements, self.name, self._dead_cap)
        calls = batch.calls(self._space.queue)
        seconds = self._client.server.command_timeout
        effects = batch.effects(await self._client.settling.attempt(calls, wanted="settle", seconds=seconds))
        self._holdings.drop(settlement.delivery.token for settlement in settlements)
        return effects

    async def absolve(self) -> None:
        plan = absolve(self._space, self.name, list(self._holdings.queues))
        try:
            await self._client.commands.follow(plan, wanted="absolve")
        finally:
            await self._link.disconnect()  # who was taken for dead fetches no more

    def lease(self) -> RedisLease:
        return RedisLease(self._client.server, self._space, self.name, self._lease_ms)

    async def leave(self) -> int:
        self._has_left = True
        plan = end_memberships(self._space, [self.name], Departure.LEFT)
        try:
            counts = await self._client.settling.follow(plan, wanted="leave")
        finally:
            await self._client.close_link(self._link)
        return counts[self.name]

    async def _take(self, limits: Mapping[str, int], count: int, suspects: int, *, blocks: bool) -> list[Delivery]:
        self._holdings.ask(limits)
        count = min(count, MAX_FETCH)
        commands: list[Command] = [self._fetching(limits, count, suspects)] if limits else []
        seconds = self._client.server.command_timeout
        if blocks:
            commands.insert(0, self._waiting(limits, suspects))
            seconds = BLOCK_SECONDS + BLOCK_MARGIN
        self._is_blocked = blocks
        try:
            replies = await self._link.attempt(commands, wanted="fetch", seconds=seconds, waits=blocks)
        finally:
            self._is_blocked = False
        self._answered_at = time.monotonic()
        self._holdings.answer()
        deliveries = self._deliveries(list(limits), replies[-1]) if limits else []
        self._was_short = len(deliveries) < min(count, sum(limits.values()))
        deliveries = self._orders.without_severed(deliveries)
        self._holdings.hold((delivery.token, delivery.queue) for delivery in deliveries)
        return deliveries

    def _waiting(self, limits: Mapping[str, int], suspects: int) -> Command:
        bells = ("wake", "wake_suspects") if suspects else ("wake",)
        wakes = [key for queue in limits for key in self._space.queue(queue).select(bells)]
        return ("BLPOP", self._space.own["interrupt"] + self.name, *wakes, BLOCK_SECONDS)

    def _fetching(self, limits: Mapping[str, int], count: int, suspects: int) -> Call:
        script = all_scripts()["fetch"]
        keys = [key for queue in limits for key in script.select(self._space.queue(queue))]
        return Call("fetch", tuple(keys), (self.name, self._holdings.number, count, suspects, *limits.values()))

    def _deliveries(self, queues: Sequence[str], reply: Reply) -> list[Delivery]:
        if reply == NOT_A_MEMBER:
            raise self._lost()
        if reply == GIVEN_UP:
            return []
        found = cast(list[Any], reply)
        waits: list[int] = []
        deliveries: list[Delivery] = []
        start = 0
        for queue in queues:
            wait, count, facts = found[start : start + 3]
            start, end = start + 3, start + 3 + 3 * count
            lent = [
                Delivery(member[1:].decode(), queue, body, member[0] - 48, token.decode(), 0)
                for member, body, token in zip(
                    found[start:end:3], found[start + 1 : end : 3], found[start + 2 : end : 3], strict=True
                )
            ]
            deliveries += map(_with_facts, lent, facts[:count], facts[count:]) if facts else lent
            waits.append(wait)
            start = end
        self._alarm.set(queues, waits)
        return deliveries

    def _lost(self) -> LeaseLost:
        return LeaseLost(f"Consumer {self.name!r} is no member any more; go on under a new name.")


def _with_facts(delivery: Delivery, crashes: bytes | None, was_granted: int) -> Delivery:
    """Return a delivery with what scripts/fetch.lua tells of it; its crashes: none, or a number below 0 if doubtful."""
    number = int(crashes or 0)
    return delivery._replace(crashes=abs(number), is_doubtful=number < 0, has_terms=bool(was_granted))


class _Alarm:
    """Goes off when a message becomes due, to the millisecond; the server's own time-outs are ten times as coarse.

    What is due in queues that were not asked, for all their slots are taken, it goes on knowing: others may wait there.
    """

    def __init__(self, client: RedisClient, space: KeySpace) -> None:
        self._client = client
        self._space = space
        self._times: dict[str, float] = {}
        self._has_changed = asyncio.Event()

    def set(self, asked: Sequence[str], waits: Iterable[int]) -> None:
        """For each queue that was asked go off in so many ms; less than 0, or not told: not at all."""
        before = bool(self._times)
        for queue in asked:
            self._times.pop(queue, None)
        now = asyncio.get_running_loop().time()
        for queue, ms in zip(asked, waits, strict=True):
            if ms >= 0:
                self._times[queue] = now + (ms + 1) / 1000
        if before or self._times:
            self._has_changed.set()

    async def run(self) -> None:
        """Go off until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            self._has_changed.clear()
            queue = min(self._times, key=self._times.__getitem__, default=None)
            left = None if queue is None else self._times[queue] - loop.time()
            if queue is not None and left is not None and left <= 0:
                await self._go_off(queue)
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._has_changed.wait()

    async def _go_off(self, queue: str) -> None:
        """Leave a token for whoever waits, unless somebody has been there; the next fetch tells what comes next."""
        at = self._times[queue]
        try:
            [ms] = await self._client.commands.call([call("alarm", self._space.queue(queue))], wanted="wake a consumer")
        except BrokerUnavailable:
            ms = 1000
        if self._times.get(queue) == at:
            self.set([queue], [ms or -1])
