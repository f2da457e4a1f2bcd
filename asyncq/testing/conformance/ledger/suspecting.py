"""What is promised of suspects in a ledger: who may take none has none, at no moment."""

from asyncq.ledger import Copy, Lent, Suspect
from asyncq.store import Place
from asyncq.testing.conformance.ledger.stage import (
    LedgerProcess,
    LedgerStage,
    copy_of,
    end_of_hold,
    lend,
    lend_one,
    take,
)
from asyncq.testing.conformance.ledger.suite import Suite
from asyncq.testing.conformance.stage import OTHER_QUEUE, QUEUE, finish, settle_one
from asyncq.transport import SUSPECT_CRASHES, Again, Return


class SuspectingSuite(Suite):
    """Copies of calls that two holders have died with."""

    async def test_no_more_suspects_are_lent_than_asked_for(self, process: LedgerProcess) -> None:
        """Of three suspects the first is lent, with what is none; the others are left to whoever may have them."""
        await _suspects(process, "a", "b", "c")
        holder = await process.holder()
        verdicts = await holder.take([copy_of(id) for id in ("a", "b", "plain", "c")], suspects=1)
        assert [type(verdict) for verdict in verdicts] == [Lent, Suspect, Lent, Suspect]
        assert verdicts[1] == Suspect(SUSPECT_CRASHES)
        assert await process.place_of("b") is Place.READY
        assert await process.running() == 2
        assert await holder.take([copy_of("b")], suspects=0) == [Suspect(SUSPECT_CRASHES)]
        other = await process.holder()
        assert [type(verdict) for verdict in await other.take([copy_of("b"), copy_of("c")], suspects=2)] == [Lent, Lent]

    async def test_one_suspect_is_lent_unless_it_says_otherwise(self, process: LedgerProcess) -> None:
        """A take that says nothing of suspects is lent one."""
        await _suspects(process, "a", "b")
        verdicts = await (await process.holder()).take([copy_of("a"), copy_of("b")])
        assert [type(verdict) for verdict in verdicts] == [Lent, Suspect]

    async def test_suspects_are_counted_over_all_queues(self, process: LedgerProcess) -> None:
        """The first suspect is lent, of whichever queue; where none comes first, one of another queue is."""
        await _suspects(process, "a", "b")
        await _suspects(process, "c", "d", queue=OTHER_QUEUE)
        holder = await process.holder()
        copies = [copy_of("a"), copy_of("c", queue=OTHER_QUEUE), copy_of("b"), copy_of("d", queue=OTHER_QUEUE)]
        verdicts = await holder.take(copies, suspects=1)
        assert [type(verdict) for verdict in verdicts] == [Lent, Suspect, Suspect, Suspect]
        copies[0] = copies[2] = copy_of("plain")
        verdicts = await holder.take([copy_of("plain"), *copies[1::2]], suspects=1)
        assert [type(verdict) for verdict in verdicts] == [Lent, Lent, Suspect]
        plain, c = verdicts[:2]
        assert isinstance(plain, Lent)
        assert isinstance(c, Lent)
        assert plain.token != c.token
        assert end_of_hold(await take(await process.holder(), copies[1])) > process.ledger.now_ms()

    async def test_who_dies_has_died_of_what_it_was_lent(self, process: LedgerProcess) -> None:
        """However soon a holder dies that one of many suspects kills: that one has a third crash, and no other."""
        await _suspects(process, "a", "b", "poison", "c")
        killed = await process.holder()
        verdicts = await killed.take([copy_of(id) for id in ("poison", "a", "b")], suspects=1)
        assert [type(verdict) for verdict in verdicts] == [Lent, Suspect, Suspect]
        assert await killed.take([copy_of("c")], suspects=0) == [Suspect(SUSPECT_CRASHES)]
        assert await process.ledger.release([killed.name]) == 1
        found = await _crashes(process, "a", "b", "c", "poison")
        assert found == {"a": 2, "b": 2, "c": 2, "poison": 3}

    async def test_what_is_left_is_known_as_its_copy_says(self, process: LedgerProcess) -> None:
        """A newer copy is what the call has become, though it is left; an older one is not wanted any more."""
        await _suspects(process, "a")
        holder = await process.holder()
        copies = [copy_of("a", 2, body=b"retry"), copy_of("a", 1)]
        assert await holder.take(copies, suspects=0) == [Suspect(SUSPECT_CRASHES), None]
        sighting = await process.look("a")
        assert sighting is not None
        assert (sighting.body, sighting.place) == (b"retry", Place.READY)
        assert (await lend_one(holder, copies[0])).body == b"retry"

    async def test_what_is_left_is_no_orphan(self, stage: LedgerStage, process: LedgerProcess) -> None:
        """Whoever was not lent a suspect has its copy, and lets it come again: nobody is to publish it."""
        await _suspects(process, "b")
        await stage.dead(process, copy_of("a"))
        await stage.dead(process, copy_of("a"), copy_of("b"))
        assert {orphan.id for orphan in await process.orphans()} == {"a", "b"}
        holder = await process.holder()
        verdicts = await holder.take([copy_of("a"), copy_of("b")], suspects=0)
        assert verdicts == [Suspect(SUSPECT_CRASHES), Suspect(SUSPECT_CRASHES + 1)]
        assert await process.orphans() == []

    async def test_what_is_left_waits_no_longer_for_its_time(self, process: LedgerProcess) -> None:
        """A suspect that was put off, and has come, is ready."""
        await _suspects(process, "a")
        holder = await process.holder()
        delivery = await lend_one(holder, copy_of("a"))
        assert await settle_one(holder, Again(delivery, b"later", process.ledger.now_ms() + 60_000))
        assert await process.place_of("a") is Place.SCHEDULED
        assert await holder.take([copy_of("a", 1, body=b"later")], suspects=0) == [Suspect(SUSPECT_CRASHES)]
        assert await process.place_of("a") is Place.READY

    async def test_what_once_stood_in_line_is_left_as_well(self, process: LedgerProcess) -> None:
        """A suspect that was put off before it was lent, and needs nothing, is left like one that never was."""
        holder = await process.holder()
        await holder.line_up([copy_of("a")])
        killed = await process.holder()
        assert [copy.id for copy, _ in (await killed.take_turns({QUEUE: 1}, 1)).lent] == ["a"]
        assert await process.ledger.release([killed.name]) == 1
        await _die(process, copy_of("a"))
        assert await holder.take([copy_of("a")], suspects=0) == [Suspect(SUSPECT_CRASHES)]
        await finish(holder, await lend(holder, copy_of("a")))
        assert await process.place_of("a") is None

    async def test_a_suspect_that_is_handed_back_is_lent_again(self, process: LedgerProcess) -> None:
        """Whoever hands one back may be lent another, or the same."""
        await _suspects(process, "a")
        holder = await process.holder()
        assert await settle_one(holder, Return(await lend_one(holder, copy_of("a"))))
        assert (await lend_one(holder, copy_of("a"))).crashes == SUSPECT_CRASHES


async def _suspects(process: LedgerProcess, *ids: str, queue: str = QUEUE) -> None:
    """Let holders die with calls until they are suspects."""
    for _ in range(SUSPECT_CRASHES):
        await _die(process, *(copy_of(id, queue=queue) for id in ids))


async def _die(process: LedgerProcess, *copies: Copy) -> None:
    """Let a holder die with these."""
    killed = await process.holder()
    await lend(killed, *copies)
    assert await process.ledger.release([killed.name]) == len(copies)


async def _crashes(process: LedgerProcess, *ids: str) -> dict[str, int]:
    """Return how many crashes calls have on their count that wait."""
    holder = await process.holder()
    verdicts = await holder.take([copy_of(id) for id in ids], suspects=0)
    found = {id: verdict.crashes for id, verdict in zip(ids, verdicts, strict=True) if isinstance(verdict, Suspect)}
    await holder.leave()
    return found
