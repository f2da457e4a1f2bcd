"""The judging: everything is checked, and looked at once more, when a run is over."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from asyncq import Broker
from asyncq.transport import Counts
from tests.chaos.checker import check, check_letters
from tests.chaos.faults import Fault
from tests.chaos.history import History
from tests.chaos.site import Site
from tests.chaos.table import table_of
from tests.chaos.watching import value_of

LAST_LOOKS = 500


@dataclass(frozen=True, slots=True)
class Report:
    """What came of a run: the table, and each claim that does not hold, with what there is to find out why."""

    table: str
    wrong: Sequence[str]


async def judge(faults: Sequence[Fault], history: History, site: Site, wrong: Sequence[str]) -> Report:
    """Check a history and what is left at its site; return that, with what is known to be wrong already."""
    verdict = check(history)
    verdict.wrong += wrong
    async with site.broker() as broker:
        dead = await _look_again(broker, history, verdict.wrong)
    if left := await site.left_behind():
        verdict.wrong.append(f"Left behind: {left}")
    return Report(table_of(faults, history, verdict, dead), verdict.wrong)


async def _look_again(broker: Broker, history: History, wrong: list[str]) -> int:
    """Check that results are still what was seen, and that nothing else is left; return how many dead letters."""
    ids = list(history.seen)
    for start in range(0, len(ids), LAST_LOOKS):
        some = ids[start : start + LAST_LOOKS]
        results = await asyncio.gather(*(broker.handle(id).result(timeout=0) for id in some))
        for id, result in zip(some, results, strict=True):
            if value_of(result) not in {each.value for each in history.seen[id]}:
                wrong.append(f"{id} was seen to end as {history.seen[id]}, and now has {result}")
    letters = [letter.id for letter in await broker.dead.list(limit=None)]
    [counts] = await (await broker.open()).transport.counts(["default"])
    wrong += check_letters(history, letters)
    if counts != Counts(ready=0, scheduled=0, running=0, dead=len(letters)):
        wrong.append(f"There are {len(letters)} dead letters, and the queue holds {counts}")
    return counts.dead
