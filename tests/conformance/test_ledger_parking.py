"""Whatever befalls calls of groups that need slots of a ledger: never do more run, and each ends in the end."""

import random
from pathlib import Path

import pytest

from asyncq.ledger import Copy, Held, Holder, Lent, Parked, next_attempt
from asyncq.limits import Kind, LimitId, Numbers
from asyncq.terms import SlotTerm, Terms
from asyncq.testing.conformance import LedgerBackend
from asyncq.testing.conformance.ledger.stage import LedgerProcess, LedgerStage
from asyncq.testing.conformance.stage import KEPT, LIMITS, NOT_KEPT, QUEUE
from asyncq.transport import Again, Delivery, Done, Return
from tests.conformance.backends import MovedMemory, Redis, SQLite

SLOTS, STEPS = 2, 120
ROOM = LimitId(Kind.SLOTS, "room")
KEYS = ("one", "two")
GROUPS = ("", "a", "b")


class World:
    """Calls that come and go, holders that die, and what is promised of them.

    Attributes:
        steps: what was done so far.
    """

    def __init__(self, stage: LedgerStage, process: LedgerProcess, seed: int) -> None:
        self.steps: list[str] = []
        self._stage = stage
        self._process = process
        self._random = random.Random(seed)
        self._copies: dict[str, Copy] = {}
        self._lent: dict[str, tuple[Holder, Delivery]] = {}
        self._holders: list[Holder] = []
        self._born = 0

    async def step(self) -> None:
        """Do something, and check what is promised."""
        if not self._holders:
            self._holders.append(await self._process.holder())
        verb = self._random.choice(
            [self._bear, self._take, self._take, self._line_up, self._turn, self._turn, self._end, self._withdraw]
        )
        verb = self._random.choice([self._die, self._move]) if self._random.random() < 0.1 else verb
        self.steps.append(verb.__name__)
        await verb()
        for key in KEYS:
            held = [id for id in self._lent if self._key_of(id) == key]
            assert len(held) <= SLOTS, held

    async def end_all(self) -> None:
        """Let everything end: nothing is lost, and no slot is."""
        last = await self._process.holder()
        for holder, delivery in list(self._lent.values()):
            await self._settled(holder, delivery, Done(delivery, KEPT))
        for _ in range(4 * self._born + 4):
            if not self._copies:
                break
            await self._taken(last, list(self._copies.values()))
            await self._turned(last)
            for holder, delivery in list(self._lent.values()):
                await self._settled(holder, delivery, Done(delivery, KEPT))
        assert not self._copies
        (parked,) = await self._process.ledger.parked([QUEUE])
        assert parked == 0
        for key in KEYS:
            verdicts = await last.take([self._copy(f"{key}-last-{n}") for n in range(SLOTS + 1)])
            assert [isinstance(verdict, Lent) for verdict in verdicts] == [True] * SLOTS + [False]

    def _copy(self, id: str) -> Copy:
        terms = Terms(slots=(SlotTerm(ROOM.name, self._key_of(id)),), group=GROUPS[len(self._copies) % len(GROUPS)])
        return Copy(id, QUEUE, id.encode(), 0, 0, terms=terms)

    def _key_of(self, id: str) -> str:
        return id.partition("-")[0]

    async def _bear(self) -> None:
        id = f"{self._random.choice(KEYS)}-{self._born}"
        self._born += 1
        self._copies[id] = self._copy(id)

    async def _take(self) -> None:
        copies = self._random.sample(list(self._copies.values()), min(3, len(self._copies)))
        await self._taken(self._random.choice(self._holders), copies)

    async def _line_up(self) -> None:
        copies = self._random.sample(list(self._copies.values()), min(3, len(self._copies)))
        for copy, verdict in zip(copies, await self._random.choice(self._holders).line_up(copies), strict=True):
            assert isinstance(verdict, Held if copy.id in self._lent else Parked), copy

    async def _turn(self) -> None:
        await self._turned(self._random.choice(self._holders))

    async def _end(self) -> None:
        if self._lent:
            holder, delivery = self._lent[self._random.choice(sorted(self._lent))]
            again = Again(delivery, delivery.body + b"+", 0)
            await self._settled(
                holder,
                delivery,
                self._random.choice([Done(delivery, NOT_KEPT), Done(delivery, KEPT), again, Return(delivery)]),
            )

    async def _withdraw(self) -> None:
        if self._copies and self._random.random() < 0.3:
            id = self._random.choice(sorted(self._copies))
            if await self._process.ledger.withdraw(id, QUEUE, KEPT, even_running=True):
                del self._copies[id]
                self._lent.pop(id, None)

    async def _move(self) -> None:
        for id in [each for each in self._copies if each not in self._lent][:1]:
            copy, body = self._copies[id], self._copies[id].body + b"!"
            moved = await self._process.ledger.reschedule(id, QUEUE, copy.body, body, 0, priority=0)
            if moved is not None:
                self._copies[id] = moved

    async def _die(self) -> None:
        holder = self._random.choice(self._holders)
        self._holders.remove(holder)
        held = [id for id, (each, _) in self._lent.items() if each is holder]
        if self._random.random() < 0.5:
            assert await holder.leave() == len(held)
        else:
            assert await self._process.ledger.release([holder.name]) == len(held)
        for id in held:
            del self._lent[id]

    async def _taken(self, holder: Holder, copies: list[Copy]) -> None:
        for copy, verdict in zip(copies, await holder.take(copies), strict=True):
            assert verdict is not None, copy
            if isinstance(verdict, Lent):
                self._note(holder, copy, verdict)

    async def _turned(self, holder: Holder) -> None:
        for copy, lent in (await holder.take_turns(LIMITS, self._random.randint(0, 3) + 1, suspects=9)).lent:
            self._note(holder, copy, lent)

    def _note(self, holder: Holder, copy: Copy, lent: Lent) -> None:
        assert copy.id not in self._lent
        assert lent.has_terms
        assert (copy.body, copy.generation) == (self._copies[copy.id].body, self._copies[copy.id].generation)
        self._lent[copy.id] = holder, Delivery(*copy[:4], *lent)

    async def _settled(self, holder: Holder, delivery: Delivery, settlement: Done | Again | Return) -> None:
        assert list(await holder.settle([settlement])) == [True]
        del self._lent[delivery.id]
        if isinstance(settlement, Done):
            del self._copies[delivery.id]
        elif isinstance(settlement, Again):
            copy = self._copies[delivery.id]
            self._copies[copy.id] = copy._replace(body=settlement.body, generation=next_attempt(copy.generation))


@pytest.fixture(params=["memory", "sqlite", "redis"])
def backend(request: pytest.FixtureRequest, redis_url: str, tmp_path: Path) -> LedgerBackend:
    """A ledger of each kind."""
    match request.param:
        case "memory":
            return MovedMemory()
        case "sqlite":
            return SQLite(tmp_path / "asyncq.db")
        case _:
            return Redis(redis_url)


@pytest.mark.parametrize("seed", range(8))
async def test_slots_are_kept_to_and_nothing_is_lost(backend: LedgerBackend, seed: int) -> None:
    """After any history each call ends, each slot is free again, and never were there more holders than slots."""
    stage = LedgerStage(backend)
    try:
        process = await stage.another()
        await process.ledger.limits().declare({ROOM: Numbers(SLOTS)})
        world = World(stage, process, seed)
        try:
            for _ in range(STEPS):
                await world.step()
            await world.end_all()
        except BaseException as error:
            error.add_note(f"seed {seed}: {' '.join(world.steps)}")
            raise
    finally:
        await stage.close()
