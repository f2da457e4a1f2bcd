"""The dead letters: calls that failed for good, for whoever looks into them, and lets them run again."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from asyncq.broker.letter import DeadLetter, Selection, message_in, shown
from asyncq.broker.terms import revived_term
from asyncq.errors import ConfigurationError
from asyncq.message import revived
from asyncq.transport import DeadLetter as Letter
from asyncq.transport import Revival, Revived, Transport

PAGE: Final = 100
"""Letters that are read, put back or dropped at a time."""

NO_SUCH_LETTER: Final = "there is no such dead letter (any more)"
ID_IN_USE: Final = "its id or its unique key belongs to another call by now, not ended or with its result kept"


@dataclass(frozen=True, slots=True)
class Retried:
    """What became of dead letters that were to run again.

    Attributes:
        ids: the calls that were put back.
        refused: why others were not, by id; their letters are kept.
    """

    ids: Sequence[str]
    refused: Mapping[str, str]


class DeadLetters:
    """The dead letters of a broker: `broker.dead`.

    Filters go together: `task` is a name, `error` a part of the error's class or text or of the reason, `queue` a
    name; `older_than` and `newer_than` are seconds since the death. Letters come newest first.

    Args:
        transport: returns the transport, opened.
        queues: returns all queues that there are.
    """

    def __init__(
        self, transport: Callable[[], Awaitable[Transport]], queues: Callable[[], Awaitable[Sequence[str]]]
    ) -> None:
        self._transport = transport
        self._queues = queues

    async def list(
        self,
        *,
        task: str | None = None,
        error: str | None = None,
        queue: str | None = None,
        older_than: float | None = None,
        newer_than: float | None = None,
        limit: int | None = 100,
    ) -> Sequence[DeadLetter]:
        """Return the newest letters that the filters leave, at most `limit`; None: all of them."""
        selection = Selection(task, error, queue, older_than, newer_than)
        found: list[tuple[Letter, DeadLetter]] = []
        for name in await self._queues_of(selection):
            count = 0
            async for pair in self._pairs(name, selection):
                if limit is not None and count >= limit:
                    break
                found.append(pair)
                count += 1
        found.sort(key=lambda pair: pair[0].died_ms, reverse=True)
        return [letter for _, letter in islice(found, limit)]

    async def get(self, id: str) -> DeadLetter | None:
        """Return the letter of a call; None: there is none."""
        found = await self._find([id])
        return shown(found[id]) if id in found else None

    async def retry(
        self,
        *letters: DeadLetter | str,
        task: str | None = None,
        error: str | None = None,
        queue: str | None = None,
        older_than: float | None = None,
        newer_than: float | None = None,
        everything: bool = False,
    ) -> Retried:
        """Let calls run again from their first attempt on: these, or those that the filters leave.

        Each is put back into its queue, with its priority, in one atomic step: the letter and the failed result are
        gone, and whoever awaits the call waits for its new end. It cannot expire any more.

        Args:
            letters: as they were read, or the ids of their calls.
            task: filter: name of the task.
            error: filter: a part of the error's class or text, or of the reason.
            queue: filter: name of the queue.
            older_than: filter: seconds since the death, at least.
            newer_than: filter: seconds since the death, at most.
            everything: all that there are; without letters and filters it has to be said.

        Raises:
            ConfigurationError: neither letters nor filters nor `everything`, or two of them.
        """
        selection = _checked(Selection(task, error, queue, older_than, newer_than), letters, everything=everything)
        done: list[str] = []
        refused: dict[str, str] = {}
        async for some in self._chosen(letters, selection):
            transport = await self._transport()
            answers = await transport.revive([_revival(letter, transport.now_ms()) for letter in some])
            for letter, answer in zip(some, answers, strict=True):
                if answer is Revived.DONE:
                    done.append(letter.id)
                elif answer is Revived.TAKEN:
                    refused[letter.id] = ID_IN_USE
        answered = {*done, *refused}
        missing = [id for id in map(_id_of, letters) if id not in answered]
        return Retried(done, refused | dict.fromkeys(missing, NO_SUCH_LETTER))

    async def drop(
        self,
        *letters: DeadLetter | str,
        task: str | None = None,
        error: str | None = None,
        queue: str | None = None,
        older_than: float | None = None,
        newer_than: float | None = None,
        everything: bool = False,
    ) -> Sequence[str]:
        """Forget letters for good, chosen as in `retry`; return their ids. Results that are kept stay."""
        selection = _checked(Selection(task, error, queue, older_than, newer_than), letters, everything=everything)
        dropped: list[str] = []
        async for some in self._chosen(letters, selection):
            answers = await (await self._transport()).drop_letters(some)
            dropped += [letter.id for letter, was_there in zip(some, answers, strict=True) if was_there]
        return dropped

    async def _chosen(
        self, letters: Sequence[DeadLetter | str], selection: Selection
    ) -> AsyncIterator[Sequence[Letter]]:
        """Yield the letters that are meant, some of one queue at a time."""
        if letters:
            async for some in self._still_kept(letters):
                yield some
            return
        for queue in await self._queues_of(selection):
            page: list[Letter] = []
            async for letter, _ in self._pairs(queue, selection):
                page.append(letter)
                if len(page) == PAGE:
                    yield page
                    page = []
            if page:
                yield page

    async def _pairs(self, queue: str, selection: Selection) -> AsyncIterator[tuple[Letter, DeadLetter]]:
        """Yield the letters of a queue that are meant, as they are kept and as they are shown, newest first."""
        transport = await self._transport()
        now_ms = transport.now_ms()
        before: int | None = None
        while page := await transport.dead_letters(queue, limit=PAGE, before=before):
            before = page[-1].place
            for letter in page:
                if selection.is_too_old(letter.died_ms, now_ms):
                    return
                seen = shown(letter)
                if selection.has(seen, letter.died_ms, now_ms):
                    yield letter, seen

    async def _still_kept(self, letters: Sequence[DeadLetter | str]) -> AsyncIterator[Sequence[Letter]]:
        """Yield what is kept of these; not of one whose call has died once more since it was read."""
        read = {letter.id: letter for letter in letters if isinstance(letter, DeadLetter)}
        ids = [*dict.fromkeys(map(_id_of, letters))]
        for start in range(0, len(ids), PAGE):
            by_queue: dict[str, list[Letter]] = {}
            for id, letter in (await self._find(ids[start : start + PAGE])).items():
                if id not in read or shown(letter) == read[id]:
                    by_queue.setdefault(letter.queue, []).append(letter)
            for some in by_queue.values():
                yield some

    async def _find(self, ids: Sequence[str]) -> dict[str, Letter]:
        """Return the letters of these calls by id; of one that has died in several queues, the newest."""
        transport = await self._transport()
        found: dict[str, Letter] = {}
        for queue in await self._queues():
            for letter in await transport.find_letters(queue, ids):
                if letter is not None and (letter.id not in found or letter.died_ms > found[letter.id].died_ms):
                    found[letter.id] = letter
        return found

    async def _queues_of(self, selection: Selection) -> Sequence[str]:
        return await self._queues() if selection.queue is None else [selection.queue]


def _checked(selection: Selection, letters: Sequence[DeadLetter | str], *, everything: bool) -> Selection:
    if [bool(letters), not selection.is_everything, everything].count(True) != 1:
        raise ConfigurationError(
            "Say which dead letters are meant: by letters or ids, by filters (task, error, queue, older_than, "
            "newer_than), or everything=True; one of the three."
        )
    return selection


def _id_of(letter: DeadLetter | str) -> str:
    return letter.id if isinstance(letter, DeadLetter) else letter


def _revival(letter: Letter, now_ms: int) -> Revival:
    message = message_in(letter)
    priority = message.priority if message else 0
    terms = message.terms if message else None
    return Revival(letter, revived(letter.body, due_ms=now_ms), priority, revived_term(message), terms)
