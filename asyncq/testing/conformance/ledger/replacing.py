"""What claiming promises of unique keys whose later calls replace the earlier one, or put it off."""

import pytest

from asyncq.ledger import Copy, Replaced
from asyncq.testing.conformance.ledger.keying import KEY, claim, copied, published, unique
from asyncq.testing.conformance.ledger.stage import LedgerProcess, LedgerStage, lend, take
from asyncq.testing.conformance.ledger.suite import Suite
from asyncq.testing.conformance.stage import MINUTE_MS, QUEUE, finish
from asyncq.transport import Owned

REPLACING = KEY._replace(replaces=True)
MOVING = REPLACING._replace(moves=True, longest_ms=2 * MINUTE_MS)


class ReplacingSuite(Suite):
    """Calls that wait and become another."""

    async def test_it_replaces_what_waits(self, process: LedgerProcess) -> None:
        """A call that waits becomes what the later one would have been: an orphan, and its old copy is not wanted."""
        await published(process, unique("a", REPLACING))
        copy = Copy("a", QUEUE, b"", 0, 0)
        for generation, id in enumerate(("b", "ccc"), 1):
            copy = Copy("a", QUEUE, b'{"v":1,"id":"a","text":"of %b"}' % id.encode(), 0, generation)
            assert await claim(process, unique(id, REPLACING)) == Replaced(Owned("a", QUEUE), copy)
            assert await process.orphans() == [copy]
            sighting = await process.look("a")
            assert sighting is not None
            assert sighting.body == copy.body
        await process.ledger.placed([copy._replace(generation=1)])
        assert await process.orphans() == [copy]
        await process.ledger.placed([copy])
        assert await process.orphans() == []
        holder = await process.holder()
        assert await take(holder, copied(unique("a"))) is None
        await finish(holder, await lend(holder, copy))
        assert await take(holder, copy) is None

    async def test_what_runs_is_not_replaced(self, process: LedgerProcess) -> None:
        """A call that runs, or has ended and has its key for a time, is named and stays as it is."""
        term = REPLACING._replace(ttl_ms=MINUTE_MS)
        await published(process, unique("a", term))
        holder = await process.holder()
        deliveries = await lend(holder, copied(unique("a")))
        assert await claim(process, unique("b", term)) == Owned("a", QUEUE)
        await finish(holder, deliveries)
        assert await claim(process, unique("b", term)) == Owned("a", QUEUE)
        assert await process.orphans() == []

    async def test_it_is_put_off(self, stage: LedgerStage, process: LedgerProcess) -> None:
        """What is put off is scheduled until then, and no later than the longest from the taking of the key on."""
        now_ms = process.ledger.now_ms()
        await published(process, unique("a", MOVING, due_ms=now_ms + MINUTE_MS))
        sooner = await claim(process, unique("b", MOVING, due_ms=now_ms + MINUTE_MS // 2))
        assert isinstance(sooner, Replaced)
        assert sooner.copy.due_ms == now_ms + MINUTE_MS // 2
        latest = await claim(process, unique("c", MOVING, due_ms=now_ms + 9 * MINUTE_MS))
        assert isinstance(latest, Replaced)
        assert latest.copy.due_ms == pytest.approx(now_ms + 2 * MINUTE_MS, abs=1_000)
        assert await process.orphans() == [latest.copy]
        assert list(await process.ledger.scheduled([QUEUE])) == [1]
