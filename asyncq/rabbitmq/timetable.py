"""The timetable beside RabbitMQ: the store keeps the schedules, and their calls are published before they move on."""

from collections.abc import Callable, Sequence

from asyncq.errors import PublishRefused
from asyncq.rabbitmq.issuing import Bound, Issuing
from asyncq.transport import Answer, Change, Changed, Entry, Receipt, Timetable


class LedgerTimetable(Timetable):
    """Publishes what a store cannot.

    Several schedulers may publish one tick at a time. They do so under one id, which the ledger gives once and for all:
    a copy is dropped by the worker that gets it, and what has run is not published again.

    Args:
        kept: the ledger's own.
        issuing: publishes calls under ids that somebody may have.
        bound: refuses what its queue has no room for; None: no queue has a bound.
    """

    def __init__(self, kept: Timetable, issuing: Issuing, bound: Bound | None) -> None:
        self._kept = kept
        self._issuing = issuing
        self._bound = bound

    def now_ms(self) -> int:
        return self._kept.now_ms()

    async def first(self, limit: int) -> Sequence[Entry]:
        return await self._kept.first(limit)

    async def find(self, names: Sequence[str]) -> Sequence[Entry | None]:
        return await self._kept.find(names)

    async def entries(self) -> Sequence[Entry]:
        return await self._kept.entries()

    async def declare(self, names: Sequence[str], *, until_ms: int, lapsed_ms: int | None) -> Sequence[str]:
        return await self._kept.declare(names, until_ms=until_ms, lapsed_ms=lapsed_ms)

    async def watch(self, changed: Callable[[], None]) -> None:
        await self._kept.watch(changed)

    async def change(self, changes: Sequence[Change]) -> Sequence[Answer]:
        answers = await self._refusals(changes)
        publishing = [index for index, change in enumerate(changes) if change.envelopes and answers[index] is None]
        receipts = await self._published([changes[index] for index in publishing])
        for index, refusal in zip(publishing, receipts, strict=True):
            answers[index] = refusal
        moving = [index for index, answer in enumerate(answers) if answer is None]
        moved = await self._kept.change([changes[index]._replace(envelopes=()) for index in moving])
        for index, answer in zip(moving, moved, strict=True):
            answers[index] = answer
        return [answer for answer in answers if answer is not None]

    async def _refusals(self, changes: Sequence[Change]) -> list[Answer | None]:
        """Return why changes that publish are not to be made; None: they may, as far as can be known before."""
        answers: list[Answer | None] = [None] * len(changes)
        publishing = [index for index, change in enumerate(changes) if change.envelopes]
        found = await self._kept.find([changes[index].name for index in publishing])
        for index, entry in zip(publishing, found, strict=True):
            change, record = changes[index], None if entry is None else entry.record
            if record == change.record:
                answers[index] = Changed.ALREADY
            elif record != change.seen:
                answers[index] = Changed.STALE
            elif self._bound is not None:
                answers[index] = _first_refusal(await self._bound(change.envelopes))
        return answers

    async def _published(self, changes: Sequence[Change]) -> Sequence[PublishRefused | None]:
        """Publish the calls of changes; return for each what one of its calls was refused for."""
        receipts = await self._issuing.issue_once([each for change in changes for each in change.envelopes])
        refusals: list[PublishRefused | None] = []
        start = 0
        for change in changes:
            end = start + len(change.envelopes)
            refusals.append(_first_refusal(receipts[start:end]))
            start = end
        return refusals


def _first_refusal(receipts: Sequence[Receipt]) -> PublishRefused | None:
    return next((receipt for receipt in receipts if isinstance(receipt, PublishRefused)), None)
