"""What claiming promises of unique keys: each is one call's, from its claim to its end."""

import asyncio
from collections.abc import Sequence

import pytest

from asyncq.ledger import Claimed, ClaimReceipt, Copy, next_life
from asyncq.testing.conformance.ledger.stage import LedgerProcess, LedgerStage, copy_of, lend, lend_one
from asyncq.testing.conformance.ledger.suite import Suite
from asyncq.testing.conformance.stage import (
    KEPT,
    MINUTE_MS,
    NOT_KEPT,
    OTHER_QUEUE,
    QUEUE,
    RECORD,
    finish,
    settle_one,
)
from asyncq.transport import Again, DeadLetter, Envelope, Outcome, Owned, Return, Revival, Taken, UniqueTerm

KEY = UniqueTerm("import:7")
AT_START = KEY._replace(ends_at_start=True)
FOR_LONG = KEY._replace(ttl_ms=9 * MINUTE_MS)


def unique(id: str, term: UniqueTerm = KEY, *, queue: str = QUEUE, due_ms: int = 0) -> Envelope:
    """Return a message with a key, whose body holds its id as a message does."""
    body = b'{"v":1,"id":"%b","text":"of %b"}' % (id.encode(), id.encode())
    return Envelope(id, queue, body, due_ms=due_ms, is_fresh=True, unique=term._replace(id_at=(12, 14 + len(id))))


def copied(envelope: Envelope, generation: int = 0) -> Copy:
    """Return a copy of a message as it is delivered."""
    return Copy(envelope.id, envelope.queue, envelope.body, 0, generation)


async def published(process: LedgerProcess, envelope: Envelope) -> None:
    """Claim a message, and note that it was published."""
    assert await claim(process, envelope) == 0
    await process.ledger.note([envelope])


async def claim(process: LedgerProcess, envelope: Envelope, *, ttl_ms: int = MINUTE_MS) -> ClaimReceipt:
    """Claim one message."""
    (claimed,) = await process.ledger.claim([envelope], ttl_ms=ttl_ms)
    return claimed


class KeyingSuite(Suite):
    """Unique keys, claimed with the ids of their calls."""

    async def test_the_second_is_told_of_the_first(self, stage: LedgerStage, process: LedgerProcess) -> None:
        """Once a call is noted its key is its own, from wherever and in whatever queue another asks for it."""
        other = await stage.another()
        await published(process, unique("a"))
        assert await claim(other, unique("b")) == Owned("a", QUEUE)
        assert await claim(other, unique("c", queue=OTHER_QUEUE)) == Owned("a", QUEUE)
        assert await claim(other, unique("d", UniqueTerm("import:8"))) == 0
        assert await claim(other, unique("a")) == Taken(unique("a").body, None)

    async def test_an_open_claim_is_to_be_published(self, stage: LedgerStage, process: LedgerProcess) -> None:
        """Who finds a key that is claimed, and no call yet, is told what to publish; noted, that is a call."""
        other = await stage.another()
        first = unique("a")
        assert await claim(process, first) == 0
        assert await claim(other, unique("b")) == Claimed(0, first.body, Owned("a", QUEUE))
        assert await claim(process, first) == 0
        await other.ledger.note([Envelope("a", QUEUE, first.body)])
        assert await claim(other, unique("b")) == Owned("a", QUEUE)
        assert await _keys(process) == [(KEY.key, "a", 0)]

    async def test_within_a_batch(self, process: LedgerProcess) -> None:
        """In one batch the second of a key finds the claim of the first; what has none is claimed by itself."""
        first = unique("a")
        claimed = await process.ledger.claim([first, Envelope("b", QUEUE, b"b"), unique("c")], ttl_ms=MINUTE_MS)
        assert list(claimed) == [0, 0, Claimed(0, first.body, Owned("a", QUEUE))]

    async def test_one_of_many_gets_it(self, stage: LedgerStage, process: LedgerProcess) -> None:
        """Of many that claim one key at the same time, in several processes, one gets it."""
        other = await stage.another()
        claims = (claim(each, unique(f"{n}-{i}")) for i in range(20) for n, each in enumerate((process, other)))
        receipts = await asyncio.gather(*claims)
        assert receipts.count(0) == 1
        assert sum(isinstance(receipt, Claimed) for receipt in receipts) == 39

    @pytest.mark.parametrize("term", [KEY, AT_START, FOR_LONG], ids=["end", "start", "time"])
    async def test_an_unconfirmed_claim_lapses(
        self, stage: LedgerStage, process: LedgerProcess, term: UniqueTerm
    ) -> None:
        """A publisher that died in between keeps a key from others for as long as its claim holds, and no longer."""
        assert await claim(process, unique("a", term), ttl_ms=200) == 0
        assert isinstance(await claim(process, unique("b", term), ttl_ms=200), Claimed)
        await stage.backend.pass_time(0.4)
        assert await _keys(process) == []
        assert await claim(process, unique("b", term)) == 0
        await process.ledger.note([unique("a", term)])
        assert isinstance(await claim(process, unique("c", term)), Claimed)

    async def test_what_has_lapsed_does_not_come_back(self, stage: LedgerStage, process: LedgerProcess) -> None:
        """An id that is claimed once more, with another key, has that alone, however often it is asked for."""
        other = unique("a", UniqueTerm("import:8"))
        assert await claim(process, unique("a"), ttl_ms=100) == 0
        await stage.backend.pass_time(0.2)
        assert [await claim(process, other) for _ in range(2)] == [0, 0]
        await process.ledger.note([other])
        assert [key for key, _, _ in await _keys(process)] == ["import:8"]
        assert await claim(process, unique("b")) == 0

    async def test_a_note_after_the_claim_has_lapsed(self, stage: LedgerStage, process: LedgerProcess) -> None:
        """What was published all the same, and is noted late, has its key if nobody else has."""
        assert await claim(process, unique("a"), ttl_ms=1) == 0
        await stage.backend.pass_time(0.05)
        await process.ledger.note([unique("a")])
        assert await claim(process, unique("b")) == Owned("a", QUEUE)

    async def test_a_key_that_is_struck_is_free(self, process: LedgerProcess) -> None:
        """A claim that is taken back leaves the key to others at once; a call is not struck."""
        assert await claim(process, unique("a")) == 0
        await process.ledger.strike([unique("a")])
        assert await _keys(process) == []
        await published(process, unique("b"))
        await process.ledger.strike([unique("b")])
        assert await claim(process, unique("c")) == Owned("b", QUEUE)

    @pytest.mark.parametrize("way", ["note", "take"])
    @pytest.mark.parametrize("outcome", [KEPT, NOT_KEPT], ids=["kept", "not kept"])
    async def test_the_end_gives_it_back(self, process: LedgerProcess, way: str, outcome: Outcome) -> None:
        """Noted or lent, a call has its key while it waits, runs, and is tried again; its end gives it back."""
        holder = await process.holder()
        envelope = unique("a")
        assert await claim(process, envelope) == 0
        if way == "note":
            await process.ledger.note([envelope])
        delivery = await lend_one(holder, copied(envelope))
        assert await claim(process, unique("b")) == Owned("a", QUEUE)
        assert await settle_one(holder, Again(delivery, b"retry", 0))
        assert await claim(process, unique("b")) == Owned("a", QUEUE)
        delivery = await lend_one(holder, copied(envelope, 1))
        assert await settle_one(holder, Return(delivery))
        await finish(holder, await lend(holder, copied(envelope, 1)), outcome)
        assert await _keys(process) == []
        assert await claim(process, unique("b")) == 0

    @pytest.mark.parametrize("way", ["note", "take"])
    async def test_the_start_gives_it_back(self, process: LedgerProcess, way: str) -> None:
        """One that ends at the start is free once the call is lent; no later attempt takes it, and no end frees it."""
        holder = await process.holder()
        envelope = unique("a", AT_START)
        assert await claim(process, envelope) == 0
        if way == "note":
            await process.ledger.note([envelope])
        delivery = await lend_one(holder, copied(envelope))
        await published(process, unique("b", AT_START))
        assert await settle_one(holder, Again(delivery, b"retry", 0))
        await finish(holder, await lend(holder, copied(envelope, 1)))
        assert await _keys(process) == [(KEY.key, "b", 0)]

    @pytest.mark.parametrize("way", ["note", "take"])
    async def test_a_time(self, stage: LedgerStage, process: LedgerProcess, way: str) -> None:
        """A key with a time is kept for that from its claim on, whatever has become of its call."""
        term = KEY._replace(ttl_ms=600)
        envelope = unique("a", term)
        assert await claim(process, envelope, ttl_ms=100) == 0
        if way == "note":
            await process.ledger.note([envelope])
        holder = await process.holder()
        await finish(holder, await lend(holder, copied(envelope)), NOT_KEPT)
        ((_, id, kept_ms),) = await _keys(process)
        assert (id, kept_ms) == ("a", 600)
        await stage.backend.pass_time(0.2)
        assert await claim(process, unique("b", term)) == Owned("a", QUEUE)
        assert await claim(process, envelope) == Owned("a", QUEUE)
        await stage.backend.pass_time(0.6)
        assert await claim(process, unique("b", term)) == 0

    async def test_a_withdrawal_gives_it_back(self, process: LedgerProcess) -> None:
        """So does whoever ends a call from outside, while it waits or runs."""
        holder = await process.holder()
        for id, is_lent in (("a", False), ("b", True)):
            await published(process, unique(id))
            if is_lent:
                await lend(holder, copied(unique(id)))
            assert await process.ledger.withdraw(id, QUEUE, KEPT, even_running=True)
            assert await _keys(process) == []

    async def test_a_crash_keeps_it(self, stage: LedgerStage, process: LedgerProcess) -> None:
        """What a dead holder had is no duplicate of itself when it is published again: it runs, and frees its key."""
        await published(process, unique("a"))
        await stage.dead(process, copied(unique("a")))
        assert await claim(process, unique("b")) == Owned("a", QUEUE)
        (orphan,) = await process.orphans()
        holder = await process.holder()
        await finish(holder, await lend(holder, orphan))
        assert await claim(process, unique("b")) == 0

    async def test_reopened(self, process: LedgerProcess) -> None:
        """A letter takes its key anew, and is refused where that is another's, also one's that is not published yet."""
        holder = await process.holder()
        letter = DeadLetter("a", QUEUE, b"a", "no", RECORD, 0, 0)
        revival = Revival(letter, b"a again", unique=KEY)
        await published(process, unique("a"))
        await finish(holder, await lend(holder, copied(unique("a"))))
        assert await claim(process, unique("b")) == 0
        assert list(await process.ledger.reopen([revival])) == [None]
        await process.ledger.strike([unique("b")])
        assert list(await process.ledger.reopen([revival] * 2)) == [next_life(0)] * 2
        assert await claim(process, unique("c")) == Owned("a", QUEUE)
        again = copy_of("a", next_life(0), body=b"a again")
        await finish(holder, await lend(holder, again))
        assert await _keys(process) == []

    async def test_one_of_two_letters_has_it(self, process: LedgerProcess) -> None:
        """Of two letters of one key that are reopened together the first runs."""
        letters = [DeadLetter(id, QUEUE, b"", "no", None, 0, 0) for id in "ab"]
        revivals = [Revival(letter, letter.id.encode(), unique=KEY) for letter in letters]
        assert list(await process.ledger.reopen(revivals)) == [0, None]
        assert await _keys(process) == [(KEY.key, "a", 0)]

    async def test_keys_are_listed_and_cleared(self, process: LedgerProcess) -> None:
        """Keys are listed by how they begin, those of open claims, too; a cleared one is free, also of such a claim."""
        await published(process, unique("a", UniqueTerm("k:1")))
        assert await claim(process, unique("b", UniqueTerm("k:2"))) == 0
        assert [owner.key for owner in await process.ledger.unique_keys("k:", limit=9)] == ["k:1", "k:2"]
        for key in ("k:1", "k:2"):
            assert await process.ledger.clear_unique(key)
            assert not await process.ledger.clear_unique(key)
        assert await claim(process, unique("c", UniqueTerm("k:2"))) == 0
        await process.ledger.note([unique("b", UniqueTerm("k:2"))])
        assert [owner.id for owner in await process.ledger.unique_keys("k:", limit=9)] == ["c"]


async def _keys(process: LedgerProcess) -> Sequence[tuple[str, str, int]]:
    """Return the keys that are taken, by whom, and for how many ms; 0: as long as its call has not ended."""
    owners = await process.ledger.unique_keys("", limit=9)
    return [(key, id, round(ends_ms - taken_ms, -2) if ends_ms else 0) for key, id, _, taken_ms, ends_ms in owners]
