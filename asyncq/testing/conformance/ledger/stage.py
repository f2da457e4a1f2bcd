"""The stage of a ledger's test: processes that share what a ledger knows, and copies as they are delivered."""

from collections.abc import Sequence
from typing import cast

from asyncq.ledger import Copy, Held, Holder, Ledger, Lent, Verdict
from asyncq.store import Place, Store
from asyncq.testing.conformance.backend import LedgerBackend
from asyncq.testing.conformance.onlooker import Onlooker
from asyncq.testing.conformance.stage import LEASE, OTHER_QUEUE, QUEUE, Stage, body_of
from asyncq.transport import Delivery, Envelope


class LedgerStage(Stage):
    """One test's processes, each with a ledger."""

    def __init__(self, backend: LedgerBackend) -> None:
        super().__init__(backend)
        self._ledgers = backend

    async def another(self) -> "LedgerProcess":
        """Return an opened pair that stands for a process."""
        ledger, store = self._ledgers.make_ledger_pair(self.namespace)
        process = LedgerProcess(self, ledger, store)
        self._exits.push_async_callback(process.close)
        await process.open()
        return process

    async def age(self, ms: int) -> None:
        """Let so much time pass for what is kept for a time, in no time."""
        await self._ledgers.age(self.namespace, ms / 1000)

    async def dead(self, process: "LedgerProcess", *copies: Copy) -> Holder:
        """Return a holder that has taken copies, and was reclaimed by another process with them."""
        dead = await process.holder(lease=LEASE)
        await lend(dead, *copies)
        assert await self.outlive(dead) == len(copies)
        return dead

    async def outlive(self, holder: Holder) -> int:
        """Let the lease of a holder run out, and be reclaimed by another process. Returns how many calls it held."""
        other = await self.another()
        return await self.lapse(holder.name, await other.lease_of(await other.holder(lease=LEASE * 2)))


class LedgerProcess(Onlooker):
    """A ledger and a store with their own connections, as another process would have them."""

    def __init__(self, stage: LedgerStage, ledger: Ledger, store: Store) -> None:
        super().__init__(stage.until, store)
        self.stage = stage
        self.ledger = ledger

    async def open(self) -> None:
        """Open store and ledger, as a broker does."""
        await self.store.open()
        self._exits.push_async_callback(self.store.close)
        await self.ledger.open()
        self._exits.push_async_callback(self.ledger.close)

    async def note(self, *ids: str, queue: str = QUEUE, priority: int = 0, due_ms: int = 0) -> None:
        """Note messages in one batch, each one's body made of its id."""
        await self.ledger.note([Envelope(id, queue, body_of(id), priority, due_ms) for id in ids])

    async def holder(
        self, name: str | None = None, queues: Sequence[str] = (QUEUE, OTHER_QUEUE), *, lease: float = 60.0
    ) -> Holder:
        """Return a new holder whose upkeep runs beside the test."""
        holder = await self.ledger.holder(name or self.stage.new_name(), queues, lease=lease)
        self._keep_up(holder.run(self.severed.extend))
        return holder

    async def place_of(self, id: str) -> Place | None:
        """Return where a call stands; None: it has ended, or is unknown."""
        sighting = await self.look(id)
        return None if sighting is None else sighting.place

    async def record_of(self, id: str) -> bytes | None:
        """Return the record of a call; None: none is kept."""
        sighting = await self.look(id)
        return None if sighting is None else sighting.record

    async def orphans(self, limit: int = 100) -> list[Copy]:
        """Return the orphans."""
        return list(await self.ledger.orphans(limit))

    async def running(self, queue: str = QUEUE) -> int:
        """Return how many calls of a queue are lent."""
        (count,) = await self.ledger.running([queue])
        return count


def copy_of(id: str, generation: int = 0, *, body: bytes | None = None, queue: str = QUEUE, priority: int = 0) -> Copy:
    """Return a copy as it is delivered, its body that of `LedgerProcess.note` unless another is given."""
    return Copy(id, queue, body_of(id) if body is None else body, priority, generation)


def envelope_of(id: str, body: bytes | None = None) -> Envelope:
    """Return a message as it is claimed."""
    return Envelope(id, QUEUE, body_of(id) if body is None else body)


async def take(holder: Holder, copy: Copy) -> Verdict:
    """Ask for one copy."""
    (verdict,) = await holder.take([copy])
    return verdict


async def lend(holder: Holder, *copies: Copy) -> list[Delivery]:
    """Take copies that have to be lent, and return the deliveries that a transport makes of them."""
    verdicts = await holder.take(copies)
    assert [type(verdict) for verdict in verdicts] == [Lent] * len(copies)
    lent = cast(Sequence[Lent], verdicts)
    return [
        Delivery(copy.id, copy.queue, copy.body, copy.priority, *verdict)
        for copy, verdict in zip(copies, lent, strict=True)
    ]


async def lend_one(holder: Holder, copy: Copy) -> Delivery:
    """Take one copy that has to be lent."""
    (delivery,) = await lend(holder, copy)
    return delivery


def end_of_hold(verdict: Verdict) -> int:
    """Return until when a copy is held that has to be."""
    assert isinstance(verdict, Held)
    return verdict.lease_end_ms
