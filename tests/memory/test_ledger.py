"""What a ledger in memory keeps, and with whom it does not share a namespace."""

import pytest

from asyncq.errors import ConfigurationError
from asyncq.ledger import TOMBSTONE_MS, Copy, Lent
from asyncq.memory import MemoryLedger, MemoryState, MemoryTransport
from asyncq.testing import MovableClock
from asyncq.transport import Delivery, Done, Envelope, Outcome

QUEUE = "mail"


async def test_ends_and_claims_are_forgotten() -> None:
    """Tombstones leave memory once others end after their time, and so do claims."""
    clock = MovableClock()
    state = MemoryState(clock)
    ledger = MemoryLedger(state, namespace="test")
    holder = await ledger.holder("worker", [QUEUE], lease=60)
    for n in range(30):
        copy = Copy(str(n), QUEUE, b"", 0, 0)
        (lent,) = await holder.take([copy])
        assert isinstance(lent, Lent)
        assert await holder.settle([Done(Delivery(copy.id, QUEUE, b"", 0, *lent), Outcome(None))]) == [True]
        await ledger.claim([Envelope(f"claim-{n}", QUEUE, b"")], ttl_ms=TOMBSTONE_MS)
        clock.move(TOMBSTONE_MS / 10_000)
    book = state.book("test")
    assert len(book._tombstones) <= 11  # what is bounded can't be seen from outside
    assert len(book._claims) <= 11
    assert book.space.entries == {}


@pytest.mark.parametrize("first", ["ledger", "transport"])
async def test_a_namespace_is_a_ledgers_or_a_brokers(first: str) -> None:
    """Whichever opens it second is refused; in another namespace it opens."""
    state = MemoryState()
    pair = [MemoryLedger(state, namespace="test"), MemoryTransport(state, namespace="test")]
    opened, refused = pair if first == "ledger" else pair[::-1]
    await opened.open()
    await opened.open()
    with pytest.raises(ConfigurationError, match="belongs to"):
        await refused.open()
    await MemoryTransport(state, namespace="other").open()
