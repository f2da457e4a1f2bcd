"""The ledgers in memory and in SQLite are asked the same at random, on one clock, and have to answer the same."""

import random
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from asyncq.errors import LeaseLost
from asyncq.ledger import LIFE, TOMBSTONE_MS, WITHDRAWN_MS, ClaimReceipt, Copy, Holder, Ledger, Lent, Replaced
from asyncq.memory import MemoryLedger, MemoryState, MemoryStore
from asyncq.sqlite import SQLiteDatabase, SQLiteLedger, SQLiteStore
from asyncq.sqlite.sweeper import EVERY, Sweeper
from asyncq.store import CallKey, Store
from asyncq.testing import MovableClock
from asyncq.transport import (
    Again,
    Dead,
    DeadLetter,
    Delivery,
    Done,
    Envelope,
    Outcome,
    Return,
    Revival,
    Settlement,
    UniqueTerm,
)

QUEUE = "mail"
IDS = ["a", "b", "c"]
BODIES = [b"first", b"second", b""]
KEYS = ["one", "two"]
OUTCOMES = [Outcome(None), Outcome(b"brief", 1_000), Outcome(b"long", 2 * TOMBSTONE_MS)]
STEPS = 80


class Twins:
    """Two ledgers, their stores, and one member after the other in both.

    Attributes:
        steps: what was asked so far.
    """

    def __init__(self, seed: int, path: Path) -> None:
        self.clock = MovableClock()
        self.steps: list[str] = []
        self._random = random.Random(seed)
        self._database = SQLiteDatabase(path, synchronous="NORMAL")
        state = MemoryState(self.clock)
        self.ledgers: list[Ledger] = [
            MemoryLedger(state, namespace="test"),
            SQLiteLedger(self._database, namespace="test", clock=self.clock),
        ]
        self.stores: list[Store] = [
            MemoryStore(state, namespace="test"),
            SQLiteStore(self._database, namespace="test", clock=self.clock),
        ]
        self._holders: list[list[Holder]] = []
        self._lent: list[tuple[list[Holder], Copy, list[Lent]]] = []

    async def step(self) -> None:
        """Ask both for something."""
        verbs = [
            self._note,
            self._claim,
            self._claim,
            self._strike,
            self._take,
            self._take,
            self._settle,
            self._settle,
            self._reopen,
        ]
        verbs += [self._withdraw, self._release, self._reclaim, self._absolve, self._leave, self._placed]
        verbs += [self._reschedule, self._clear]
        verb = self._random.choice([*verbs, self._join, self._pass_time]) if self._holders else self._join
        self.steps.append(verb.__name__)
        await verb()
        await self._both(lambda n: self.stores[n].look([CallKey(id) for id in IDS]), list)
        await self._both(lambda n: self.ledgers[n].orphans(10), self._as_orphans)
        await self._both(lambda n: self.ledgers[n].running([QUEUE]), list)
        await self._both(lambda n: self.ledgers[n].scheduled([QUEUE]), list)
        await self._both(lambda n: self.ledgers[n].unique_keys("", limit=9), list)

    def _as_orphans(self, copies: Sequence[Copy]) -> list[Copy]:
        return sorted(map(self._as_published, copies))

    def _as_published(self, copy: Copy) -> Copy:
        """Return a copy without a due time that has passed: whether that is told is not promised."""
        return copy if copy.due_ms > self.clock.now_ms() else copy._replace(due_ms=0)

    def _as_claimed(self, receipts: Sequence[ClaimReceipt]) -> list[object]:
        return [
            receipt._replace(copy=self._as_published(receipt.copy)) if isinstance(receipt, Replaced) else receipt
            for receipt in receipts
        ]

    async def _both(self, ask: Callable[[int], Awaitable[Any]], seen: Callable[[Any], object]) -> list[Any]:
        answers = [await ask(0), await ask(1)]
        assert seen(answers[0]) == seen(answers[1])
        return answers

    async def _join(self) -> None:
        name = f"worker-{len(self._holders)}"
        self._holders.append([await ledger.holder(name, [QUEUE], lease=20) for ledger in self.ledgers])

    async def _note(self) -> None:
        envelopes = [self._envelope(), self._envelope()]
        await self._both(lambda n: self.ledgers[n].note(envelopes), bool)

    async def _claim(self) -> None:
        envelopes, ttl_ms = [self._envelope(), self._envelope()], self._random.choice([1, 30_000])
        await self._both(lambda n: self.ledgers[n].claim(envelopes, ttl_ms=ttl_ms), self._as_claimed)

    async def _strike(self) -> None:
        envelopes = [self._envelope()]
        await self._both(lambda n: self.ledgers[n].strike(envelopes), bool)

    async def _take(self) -> None:
        holders = self._random.choice(self._holders)
        copies, suspects = [self._copy() for _ in range(3)], self._random.choice([0, 1, 3])
        answers = await self._both(lambda n: _taken(holders[n], copies, suspects), _without_tokens)
        for copy, *verdicts in zip(copies, *answers, strict=False):
            if isinstance(verdicts[0], Lent):
                self._lent.append((holders, copy, verdicts))

    async def _settle(self) -> None:
        if not self._lent:
            return
        holders, copy, verdicts = self._random.choice(self._lent)
        kind, body, outcome = self._random.randrange(5), self._random.choice(BODIES), self._random.choice(OUTCOMES)
        due_ms = self.clock.now_ms() + self._random.choice([0, 5_000])

        def settlement(n: int) -> Settlement:
            delivery = Delivery(copy.id, QUEUE, copy.body, copy.priority, *verdicts[n])
            return [
                Done(delivery, outcome),
                Dead(delivery, outcome, "It failed.", 1_000),
                Again(delivery, body, due_ms),
                Return(delivery),
                Return(delivery, is_crash=True),
            ][kind]

        await self._both(lambda n: holders[n].settle([settlement(n)] * 2), list)

    async def _withdraw(self) -> None:
        id, outcome = self._random.choice(IDS), self._random.choice(OUTCOMES)
        even_running = self._random.random() < 0.5
        await self._both(lambda n: self.ledgers[n].withdraw(id, QUEUE, outcome, even_running=even_running), bool)

    async def _release(self) -> None:
        holders = self._random.choice(self._holders)
        await self._both(lambda n: self.ledgers[n].release([holders[n].name]), int)

    async def _reclaim(self) -> None:
        leases = [holder.lease() for holder in self._random.choice(self._holders)]
        assert leases[0].renew() == leases[1].renew()
        assert dict(leases[0].reclaim()) == dict(leases[1].reclaim())
        for lease in leases:
            lease.close()

    async def _absolve(self) -> None:
        holders = self._random.choice(self._holders)
        await self._both(lambda n: holders[n].absolve(), bool)

    async def _leave(self) -> None:
        holders = self._random.choice(self._holders)
        await self._both(lambda n: holders[n].leave(), int)

    async def _placed(self) -> None:
        copies = [self._copy()]
        await self._both(lambda n: self.ledgers[n].placed(copies), bool)

    async def _reschedule(self) -> None:
        id, read, body = self._random.choice(IDS), self._random.choice(BODIES), self._random.choice(BODIES)
        due_ms = self.clock.now_ms() + self._random.choice([0, 5_000])

        async def ask(n: int) -> list[Copy | None]:
            return [await self.ledgers[n].reschedule(id, QUEUE, read, body, due_ms, priority=2)]

        await self._both(ask, list)

    async def _clear(self) -> None:
        key = self._random.choice(KEYS)
        await self._both(lambda n: self.ledgers[n].clear_unique(key), bool)

    async def _reopen(self) -> None:
        revivals = [self._revival(), self._revival()]
        await self._both(lambda n: self.ledgers[n].reopen(revivals), list)

    async def _pass_time(self) -> None:
        # What is over is swept, for the file may remember it for longer than it has to.
        nearly_forgotten = WITHDRAWN_MS / 1000 - EVERY + 1  # unless it was due at once
        self.clock.move(EVERY + self._random.choice([0, 30, TOMBSTONE_MS / 1000, nearly_forgotten]))
        await Sweeper(self._database, self.clock).sweep()

    def _envelope(self) -> Envelope:
        due_ms = self.clock.now_ms() + self._random.choice([0, 5_000])
        body = self._random.choice(BODIES)
        return Envelope(self._random.choice(IDS), QUEUE, body, 0, due_ms, unique=self._term())

    def _term(self) -> UniqueTerm | None:
        """Return no key mostly, or one of any kind; an id that is published again may ask for another."""
        if self._random.random() < 0.4:
            return None
        key, until = self._random.choice(KEYS), self._random.choice(["", "start", "time"])
        replaces, moves = self._random.choice([(False, False), (True, False), (True, True)])
        return UniqueTerm(
            key,
            ends_at_start=until == "start",
            ttl_ms=60_000 if until == "time" else 0,
            replaces=replaces,
            moves=moves,
            longest_ms=7_000 if moves else 0,
        )

    def _copy(self) -> Copy:
        generation = self._random.choice([0, 0, 1, 2, LIFE, LIFE + 1, 2 * LIFE])
        return Copy(self._random.choice(IDS), QUEUE, self._random.choice(BODIES), 0, generation)

    def _revival(self) -> Revival:
        record = self._random.choice([None, b"brief", b"long"])
        letter = DeadLetter(self._random.choice(IDS), QUEUE, b"", "It failed.", record, died_ms=0, place=1)
        return Revival(letter, self._random.choice(BODIES), unique=self._term())


@pytest.mark.parametrize("seed", range(50))
async def test_memory_and_sqlite_agree(tmp_path: Path, seed: int) -> None:
    """Whatever is asked of both, in whatever order, is answered alike, and who looks sees the same."""
    twins = Twins(seed, tmp_path / "ledger.db")
    for each in (*twins.stores, *twins.ledgers):
        await each.open()
    try:
        for _ in range(STEPS):
            await twins.step()
    except AssertionError as error:
        error.add_note(f"after {twins.steps}")
        raise
    finally:
        for each in (*twins.ledgers, *twins.stores):
            await each.close()


async def _taken(holder: Holder, copies: Sequence[Copy], suspects: int) -> Sequence[object]:
    try:
        return await holder.take(copies, suspects=suspects)
    except LeaseLost:
        return ["lost"]


def _without_tokens(verdicts: Sequence[object]) -> list[object]:
    return [verdict._replace(token="") if isinstance(verdict, Lent) else verdict for verdict in verdicts]
