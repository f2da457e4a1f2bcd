"""What reopening promises: a dead letter's call runs again, and its old life does not come back."""

import pytest

from asyncq.ledger import Copy, Holder, Lent, Parked, next_attempt, next_life
from asyncq.limits import Kind, LimitId, Numbers
from asyncq.store import Place
from asyncq.terms import SlotTerm, Terms
from asyncq.testing.conformance.ledger.stage import LedgerProcess, LedgerStage, copy_of, envelope_of, lend_one
from asyncq.testing.conformance.ledger.suite import Suite
from asyncq.testing.conformance.stage import KEPT, MINUTE_MS, NOT_KEPT, QUEUE, RECORD, body_of, finish, settle_one
from asyncq.transport import Dead, DeadLetter, Outcome, Revival

ERROR = b'{"status":"failed"}'
FAILED = Outcome(ERROR, MINUTE_MS)
NEXT_LIFE = b"next life"


class ReopeningSuite(Suite):
    """Calls that died, and are to run again."""

    @pytest.mark.parametrize("outcome", [FAILED, NOT_KEPT], ids=["kept", "not kept"])
    async def test_a_dead_call_is_reopened(self, stage: LedgerStage, process: LedgerProcess, outcome: Outcome) -> None:
        """It waits with its new body and no crash; its result is gone, and its end is told to who watches."""
        letter = await _bury(process, outcome, crashes=1)
        other = await stage.another()
        generation = await _reopen(other, letter)
        assert generation is not None
        assert generation == next_life(0)
        watcher = await other.listen()
        sighting = await process.look("a", watcher=watcher)
        assert sighting is not None
        assert (sighting.record, sighting.body, sighting.place) == (None, NEXT_LIFE, Place.READY)
        assert not sighting.was_started
        holder = await process.holder()
        delivery = await lend_one(holder, copy_of("a", generation, body=NEXT_LIFE))
        assert delivery.crashes == 0
        await finish(holder, [delivery])
        assert (await other.end_of("a")).record in {RECORD, None}
        assert await process.record_of("a") == RECORD

    @pytest.mark.parametrize("outcome", [FAILED, NOT_KEPT], ids=["kept", "not kept"])
    async def test_copies_of_the_old_life_are_not_wanted(self, process: LedgerProcess, outcome: Outcome) -> None:
        """What comes late of the life that has ended does not pass for the next one, of whatever attempt it is."""
        letter = await _bury(process, outcome)
        generation = await _reopen(process, letter)
        assert generation is not None
        holder = await process.holder()
        assert list(await holder.take([copy_of("a"), copy_of("a", next_attempt(0))])) == [None, None]
        await lend_one(holder, copy_of("a", generation, body=NEXT_LIFE))

    async def test_reopening_is_repeated_until_the_call_runs(self, process: LedgerProcess) -> None:
        """Who died before it published is followed by another, whose body is the call's, in the same generation."""
        letter = await _bury(process, FAILED)
        assert await _reopen(process, letter) == await _reopen(process, letter, b"another") == next_life(0)
        sighting = await process.look("a")
        assert sighting is not None
        assert sighting.body == b"another"
        await lend_one(await process.holder(), copy_of("a", next_life(0), body=b"another"))
        assert await _reopen(process, letter) is None

    @pytest.mark.parametrize("terms", [Terms(slots=(SlotTerm("room"),)), Terms(group="ours")], ids=["slot", "group"])
    async def test_reopening_is_repeated_while_the_call_is_parked(self, process: LedgerProcess, terms: Terms) -> None:
        """So is one that stands in line: it is lent once, with the body that was said last."""
        room = LimitId(Kind.SLOTS, "room")
        await process.ledger.limits().declare({room: Numbers(1)})
        holder = await process.holder()
        taken = await lend_one(holder, copy_of("b")._replace(terms=terms))
        letter = await _bury(process, FAILED)
        generation = next_life(0)
        assert await _reopen(process, letter) == generation
        copy = copy_of("a", generation, body=NEXT_LIFE)._replace(terms=terms)
        (verdict,) = await (holder.line_up([copy]) if terms.group else holder.take([copy]))
        assert isinstance(verdict, Parked)
        assert await _reopen(process, letter, b"another") == generation
        sighting = await process.look("a")
        assert sighting is not None
        assert (sighting.body, sighting.place) == (b"another", Place.READY)
        assert [orphan.body for orphan in await process.orphans()] == [b"another"]
        await finish(holder, [taken])
        again = copy._replace(body=b"another")
        (verdict,) = await holder.take([again])
        if isinstance(verdict, Parked):  # where it has kept its place
            ((lent, _),) = (await holder.take_turns({QUEUE: 10}, 10)).lent
            assert lent.body == b"another"
        else:
            assert isinstance(verdict, Lent)
        assert await process.orphans() == []
        assert await _reopen(process, letter) is None
        assert list(await process.ledger.parked([QUEUE])) == [0]

    async def test_who_dies_before_it_published_leaves_an_orphan(self, process: LedgerProcess) -> None:
        """Until it was published and placed it is an orphan, with the body that was said last; what is lent is none."""
        letter = await _bury(process, FAILED)
        await _reopen(process, letter)
        (generation,) = await process.ledger.reopen([Revival(letter, b"another", 7)])
        assert generation is not None
        copy = Copy("a", QUEUE, b"another", 7, generation)
        assert list(await process.ledger.orphans(9)) == [copy]
        await process.ledger.placed([copy])
        assert list(await process.ledger.orphans(9)) == []
        await _reopen(process, letter)
        await lend_one(await process.holder(), copy)
        assert list(await process.ledger.orphans(9)) == []

    async def test_an_unknown_call_is_reopened(self, process: LedgerProcess) -> None:
        """A letter whose call the ledger has forgotten runs again like any other."""
        generation = await _reopen(process, _letter(ERROR))
        assert generation == 0
        assert await process.place_of("a") is Place.READY

    @pytest.mark.parametrize("state", ["waits", "runs", "claimed"])
    async def test_another_call_has_its_id(self, process: LedgerProcess, state: str) -> None:
        """A letter whose id is another call's by now stays one, and that call is left as it is."""
        letter = await _bury(process, NOT_KEPT)
        (generation,) = await process.ledger.claim([envelope_of("a", b"another")], ttl_ms=MINUTE_MS)
        assert isinstance(generation, int)
        if state == "waits":
            await process.ledger.note([envelope_of("a", b"another")])
        elif state == "runs":
            await lend_one(await process.holder(), copy_of("a", generation, body=b"another"))
        assert await _reopen(process, letter) is None
        sighting = await process.look("a")
        assert (None if sighting is None else sighting.body) in {b"another", None}

    async def test_another_result_has_its_id(self, process: LedgerProcess) -> None:
        """So does a letter whose id has another result."""
        letter = await _bury(process, NOT_KEPT)
        (generation,) = await process.ledger.claim([envelope_of("a")], ttl_ms=MINUTE_MS)
        assert isinstance(generation, int)
        holder = await process.holder()
        await finish(holder, [await lend_one(holder, copy_of("a", generation))], KEPT)
        assert await _reopen(process, letter) is None
        assert await process.record_of("a") == RECORD

    async def test_two_letters_of_one_call_are_one_life(self, process: LedgerProcess) -> None:
        """Two letters of one call in a batch are one life of it: the last body is the call's."""
        letter = await _bury(process, FAILED)
        revivals = [Revival(letter, NEXT_LIFE), Revival(letter, b"another")]
        assert list(await process.ledger.reopen(revivals)) == [next_life(0)] * 2
        sighting = await process.look("a")
        assert sighting is not None
        assert sighting.body == b"another"

    async def test_a_batch_is_reopened_each_by_itself(self, process: LedgerProcess) -> None:
        """Each of a batch is reopened or not, in order."""
        await process.note("b")
        letters = [_letter(None, id) for id in "abc"]
        reopened = await process.ledger.reopen([Revival(letter, NEXT_LIFE) for letter in letters])
        assert list(reopened) == [0, None, 0]


async def _bury(process: LedgerProcess, outcome: Outcome, *, crashes: int = 0) -> DeadLetter:
    """Let a call die, and return the letter that a transport has of it."""
    for _ in range(crashes):
        crashed = await process.holder()
        await lend_one(crashed, copy_of("a"))
        await process.ledger.release([crashed.name])
    holder: Holder = await process.holder()
    delivery = await lend_one(holder, copy_of("a"))
    assert await settle_one(holder, Dead(delivery, outcome, "It failed.", MINUTE_MS, record=ERROR))
    return _letter(ERROR)


def _letter(record: bytes | None, id: str = "a") -> DeadLetter:
    return DeadLetter(id, QUEUE, body_of(id), "It failed.", record, died_ms=0, place=1)


async def _reopen(process: LedgerProcess, letter: DeadLetter, body: bytes = NEXT_LIFE) -> int | None:
    (generation,) = await process.ledger.reopen([Revival(letter, body)])
    return generation
