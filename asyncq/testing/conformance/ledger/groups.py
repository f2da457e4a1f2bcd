"""Calls of groups, for the suites: how they come to stand in line, and how they come out of it."""

from asyncq.ledger import Copy, Holder, Parked
from asyncq.terms import Terms
from asyncq.testing.conformance.ledger.parking import ids_of, lend_turns, limited
from asyncq.testing.conformance.ledger.stage import LedgerProcess
from asyncq.testing.conformance.stage import NOT_KEPT, QUEUE, finish


def grouped(id: str, group: str | None = None, *, needs: Terms | None = None, priority: int = 0) -> Copy:
    """Return a copy of a call of a group: by default, its id without the digits behind it."""
    group = id.rstrip("0123456789") if group is None else group
    terms = Terms(needs.rates, needs.slots, group) if needs else Terms(group=group)
    return limited(id, terms, priority=priority)


def many(group: str, count: int, *, needs: Terms | None = None) -> list[Copy]:
    """Return so many copies of a group."""
    return [grouped(f"{group}{n}", group, needs=needs) for n in range(count)]


async def line_up(holder: Holder, *copies: Copy) -> None:
    """Let copies wait that have to be parked."""
    verdicts = await holder.line_up(copies)
    assert [type(verdict) for verdict in verdicts] == [Parked] * len(copies)


async def one_by_one(holder: Holder, count: int) -> list[str]:
    """Take, and end, one call after the other."""
    found: list[str] = []
    for _ in range(count):
        (delivery,) = await lend_turns(holder, 1)
        await finish(holder, [delivery], NOT_KEPT)
        found.append(delivery.id)
    return found


async def all_of(holder: Holder) -> list[str]:
    """Take, and end, one call after the other until it is nobody's turn."""
    found: list[str] = []
    while deliveries := await lend_turns(holder, 1):
        found += ids_of(deliveries)
        await finish(holder, deliveries, NOT_KEPT)
    return found


async def parked(process: LedgerProcess) -> int:
    """Return how many wait."""
    (count,) = await process.ledger.parked([QUEUE])
    return count
