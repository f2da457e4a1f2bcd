"""The holder: a consumer of a ledger on Redis."""

import asyncio
from collections.abc import Callable, Mapping, Sequence

from asyncq.errors import LeaseLost
from asyncq.ledger import Copy, Held, Holder, Lent, Parked, Suspect, Turns, Verdict
from asyncq.redis.client import RedisClient
from asyncq.redis.holdings import Holdings
from asyncq.redis.keys import KeySpace
from asyncq.redis.lease import RedisLease
from asyncq.redis.orders import Orders
from asyncq.redis.recovering import Recovering
from asyncq.redis.settling import SettlementBatch
from asyncq.redis.takeover import LEDGER_RECLAIM, absolve, end_memberships
from asyncq.redis.taking import Asking, Taking
from asyncq.transport import Dead, Departure, Done, Settlement

LONGEST_WAIT, WAIT_MARGIN = 20.0, 5.0
"""Seconds of one wait to be called, and how many more it may take until its connection counts as dead."""


class RedisHolder(Holder):
    """A member of some queues.

    Whatever the server takes for lent to it that is not (`Holdings`) becomes an orphan: what was lent in a reply that
    never came, and what has ended already, if the server has lost the last moments. So does what it takes for waiting
    that has ended here (`Recovering`).
    """

    def __init__(self, client: RedisClient, space: KeySpace, name: str, queues: Sequence[str], lease_ms: int) -> None:
        self.name = name
        self._client = client
        self._space = space
        self._queues = list(queues)
        self._lease_ms = lease_ms
        self._link = client.link()
        self._waiting = client.link()
        self._orders = Orders(client, space, name)
        self._holdings = Holdings(space, name, self._link, reclaim=LEDGER_RECLAIM)
        self._recovering = Recovering(client, space)
        self._taking = asyncio.Lock()
        self._has_left = False

    async def run(self, severed: Callable[[Sequence[str]], None]) -> None:
        """Take orders; and find out what the server has forgotten, also while nothing is taken here."""

        def lose(tokens: Sequence[str]) -> None:
            self._holdings.drop(tokens)
            severed(tokens)

        async with asyncio.TaskGroup() as doers:
            doers.create_task(self._orders.run(lose, reconnected=self._reconcile))
            doers.create_task(self._client.lookout.run())
            doers.create_task(self._recovering.run())

    async def take(self, copies: Sequence[Copy], *, suspects: int = 1) -> Sequence[Verdict]:
        if not copies:
            return []
        async with self._taking:  # one that is under way is not to be given up as unanswered
            if self._has_left:
                raise LeaseLost(f"Holder {self.name!r} has left.")
            return await self._take(copies, suspects)

    async def line_up(self, copies: Sequence[Copy]) -> Sequence[Held | Parked | None]:
        if not copies:
            return []
        async with self._taking:
            if self._has_left:
                raise LeaseLost(f"Holder {self.name!r} has left.")
            verdicts = await self._take(copies, 0, is_put_off=True)
        return [None if isinstance(verdict, Lent | Suspect) else verdict for verdict in verdicts]  # all wait

    async def take_turns(self, limits: Mapping[str, int], count: int, *, suspects: int = 1) -> Turns:
        async with self._taking:
            if self._has_left:
                raise LeaseLost(f"Holder {self.name!r} has left.")
            return await self._take_turns(limits, count, suspects)

    async def called(self, queues: Sequence[str], seconds: float) -> bool:
        seconds = max(0.001, min(seconds, LONGEST_WAIT))
        command = ("BLPOP", *(self._space.queue(queue)["wake"] for queue in queues), f"{seconds:.3f}")
        deadline = seconds + WAIT_MARGIN
        [token] = await self._waiting.attempt([command], wanted="wait for a turn", seconds=deadline, waits=True)
        return token is not None

    async def settle(self, settlements: Sequence[Settlement]) -> Sequence[bool]:
        """End lendings.

        It is tried once: only the caller knows that a False is no news when the same was sent before.
        """
        batch = SettlementBatch(settlements, self.name, None)
        calls = batch.calls(self._space.queue)
        seconds = self._client.server.command_timeout
        effects = batch.effects(await self._client.settling.attempt(calls, wanted="settle", seconds=seconds))
        self._holdings.drop(settlement.delivery.token for settlement in settlements)
        self._recovering.part(
            (settlement.delivery.queue, f"{settlement.delivery.priority}{settlement.delivery.id}")
            for settlement, has_effect in zip(settlements, effects, strict=True)
            if not has_effect or isinstance(settlement, (Done, Dead))
        )
        return effects

    async def absolve(self) -> None:
        plan = absolve(self._space, self.name, self._queues, reclaim=LEDGER_RECLAIM)
        try:
            await self._client.commands.follow(plan, wanted="absolve")
        finally:
            await self._link.disconnect()  # who was taken for dead takes no more

    def lease(self) -> RedisLease:
        return RedisLease(self._client.server, self._space, self.name, self._lease_ms, reclaim=LEDGER_RECLAIM)

    async def leave(self) -> int:
        self._has_left = True
        await self._client.close_link(self._waiting)  # it would take the token by which somebody else is called
        plan = end_memberships(self._space, [self.name], Departure.LEFT, reclaim=LEDGER_RECLAIM)
        try:
            counts = await self._client.settling.follow(plan, wanted="leave")
        finally:
            await self._client.close_link(self._link)
        return counts[self.name]

    async def _reconcile(self) -> None:
        async with self._taking:
            if not self._has_left:
                await self._holdings.reconcile(self._client.server.command_timeout)
        self._recovering.doubt()

    async def _take(self, copies: Sequence[Copy], suspects: int, *, is_put_off: bool = False) -> list[Verdict]:
        seconds = self._client.server.command_timeout
        if self._holdings.is_doubtful:
            await self._holdings.reconcile(seconds)
        self._holdings.ask({copy.queue for copy in copies})
        taking = Taking(copies, self.name, self._holdings.number, suspects=suspects, is_put_off=is_put_off)
        while calls := taking.calls(self._space.queue):
            taking.hear(await self._link.attempt(calls, wanted="take", seconds=seconds))
        self._holdings.answer()
        verdicts = taking.verdicts
        held: list[tuple[str, str]] = []
        unwanted = [copy for copy, verdict in zip(copies, verdicts, strict=True) if verdict is None]
        self._recovering.part((copy.queue, f"{copy.priority}{copy.id}") for copy in unwanted)
        for index, verdict in enumerate(verdicts):
            if isinstance(verdict, Lent):
                if self._orders.are_given_for(verdict.token):
                    verdicts[index] = None  # the order was here first, on its own connection
                else:
                    held.append((verdict.token, copies[index].queue))
        self._holdings.hold(held)
        return verdicts

    async def _take_turns(self, limits: Mapping[str, int], count: int, suspects: int) -> Turns:
        seconds = self._client.server.command_timeout
        if self._holdings.is_doubtful:
            await self._holdings.reconcile(seconds)
        self._holdings.ask(limits)
        asking = Asking(limits, count, suspects, self.name, self._holdings.number)
        [reply] = await self._link.attempt([asking.call(self._space.queue)], wanted="take turns", seconds=seconds)
        self._holdings.answer()
        turns = asking.turns(reply)
        lent = [(copy, each) for copy, each in turns.lent if not self._orders.are_given_for(each.token)]
        self._holdings.hold((each.token, copy.queue) for copy, each in lent)
        return turns._replace(lent=lent)
