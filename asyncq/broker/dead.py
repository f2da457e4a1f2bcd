"""The dead letters: calls that failed for good, for whoever looks into them, and lets them run again."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Any, Final

from asyncq.errors import ConfigurationError, DecodeError
from asyncq.message import Message, decode_message, revived
from asyncq.result import Failure, Record, Status, decode_record, instant
from asyncq.transport import DeadLetter as Letter
from asyncq.transport import Revival, Revived, Transport

PAGE: Final = 100
"""Letters that are read, put back or dropped at a time."""

NO_SUCH_LETTER: Final = "there is no such dead letter (any more)"
ID_IN_USE: Final = "its id belongs to another call by now, which has not ended or whose result is kept"


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A call that failed for good, with all that is known of its end.

    Attributes:
        id, task, queue: the call's; `task` is empty where its message cannot be read.
        args, kwargs: as they were sent: what JSON makes of the arguments.
        labels: the user's own facts about the call.
        reason: why it does not run again, in one sentence.
        error_type: class of the last error, `module.Name` or a builtin's name; empty where nothing was raised.
        error: its text.
        traceback: as the worker saw it.
        attempts: how many were used.
        worker: the process that ran the last one.
        enqueued_at: when it was first published; None: its message does not say.
        died_at: when it failed for good.
        body: the message as it was sent.
    """

    id: str
    task: str
    queue: str
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    labels: Mapping[str, Any]
    reason: str
    error_type: str
    error: str
    traceback: str = field(repr=False)
    attempts: int
    worker: str
    enqueued_at: datetime | None
    died_at: datetime
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Retried:
    """What became of dead letters that were to run again.

    Attributes:
        ids: the calls that were put back.
        refused: why others were not, by id; their letters are kept.
    """

    ids: Sequence[str]
    refused: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Selection:
    """Which dead letters are meant; what is None is not asked for.

    Attributes:
        task: name of the task.
        error: a part of the error's class or text, or of the reason, in whatever case.
        queue: name of the queue.
        older_than: they died longer than so many seconds ago.
        newer_than: they died within the last so many seconds.
    """

    task: str | None = None
    error: str | None = None
    queue: str | None = None
    older_than: float | None = None
    newer_than: float | None = None

    @property
    def is_everything(self) -> bool:
        """Whether it leaves nothing out."""
        return self == Selection()

    def is_too_old(self, died_ms: int, now_ms: int) -> bool:
        """Tell whether a letter, and thus all that died before it, is older than what is meant."""
        return self.newer_than is not None and died_ms < now_ms - self.newer_than * 1000

    def has(self, letter: DeadLetter, died_ms: int, now_ms: int) -> bool:
        """Tell whether a letter is meant."""
        if self.older_than is not None and died_ms > now_ms - self.older_than * 1000:
            return False
        if self.task is not None and letter.task != self.task:
            return False
        texts = (f"{letter.error_type}: {letter.error}", letter.reason)
        return self.error is None or any(self.error.casefold() in text.casefold() for text in texts)


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
        return _decoded(found[id][0]) if id in found else None

    async def retry(
        self,
        *ids: str,
        task: str | None = None,
        error: str | None = None,
        queue: str | None = None,
        older_than: float | None = None,
        newer_than: float | None = None,
        everything: bool = False,
    ) -> Retried:
        """Let calls run again, those of these ids or those that the filters leave, from their first attempt on.

        Each is put back into its queue, with its priority, in one atomic step: the letter and the failed result are
        gone, and whoever awaits the call waits for its new end. It cannot expire any more.

        Args:
            ids: the calls.
            task: filter: name of the task.
            error: filter: a part of the error's class or text, or of the reason.
            queue: filter: name of the queue.
            older_than: filter: seconds since the death, at least.
            newer_than: filter: seconds since the death, at most.
            everything: all that there are; without ids and filters it has to be said.

        Raises:
            ConfigurationError: neither ids nor filters nor `everything`, or ids and one of the others.
        """
        selection = _checked(Selection(task, error, queue, older_than, newer_than), ids, everything=everything)
        done: list[str] = []
        refused: dict[str, str] = {}
        async for letters in self._chosen(ids, selection):
            transport = await self._transport()
            answers = await transport.revive([_revival(letter, transport.now_ms()) for letter in letters])
            for letter, answer in zip(letters, answers, strict=True):
                if answer is Revived.DONE:
                    done.append(letter.id)
                elif answer is Revived.TAKEN:
                    refused[letter.id] = ID_IN_USE
        missing = {*ids} - {*done} - refused.keys()
        return Retried(done, refused | {id: NO_SUCH_LETTER for id in ids if id in missing})

    async def drop(
        self,
        *ids: str,
        task: str | None = None,
        error: str | None = None,
        queue: str | None = None,
        older_than: float | None = None,
        newer_than: float | None = None,
        everything: bool = False,
    ) -> Sequence[str]:
        """Forget letters for good, chosen as in `retry`; return their ids. Results that are kept stay."""
        selection = _checked(Selection(task, error, queue, older_than, newer_than), ids, everything=everything)
        dropped: list[str] = []
        async for letters in self._chosen(ids, selection):
            answers = await (await self._transport()).drop_letters(letters)
            dropped += [letter.id for letter, was_there in zip(letters, answers, strict=True) if was_there]
        return list(dict.fromkeys(dropped))

    async def _chosen(self, ids: Sequence[str], selection: Selection) -> "AsyncIterator[list[Letter]]":
        """Yield the letters that are meant, some of one queue at a time."""
        if ids:
            found = await self._find(ids)
            by_queue: dict[str, list[Letter]] = {}
            for letters in found.values():
                for letter in letters:
                    by_queue.setdefault(letter.queue, []).append(letter)
            for letters in by_queue.values():
                for start in range(0, len(letters), PAGE):
                    yield letters[start : start + PAGE]
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
                shown = _decoded(letter)
                if selection.has(shown, letter.died_ms, now_ms):
                    yield letter, shown

    async def _find(self, ids: Sequence[str]) -> "dict[str, list[Letter]]":
        """Return the letters of these calls by id, the newest first: an id may have died in more than one queue."""
        transport = await self._transport()
        found: dict[str, list[Letter]] = {}
        for queue in await self._queues():
            for letter in await transport.find_letters(queue, list(dict.fromkeys(ids))):
                if letter is not None:
                    found.setdefault(letter.id, []).append(letter)
        for letters in found.values():
            letters.sort(key=lambda letter: letter.died_ms, reverse=True)
        return found

    async def _queues_of(self, selection: Selection) -> Sequence[str]:
        return await self._queues() if selection.queue is None else [selection.queue]


def _checked(selection: Selection, ids: Iterable[str], *, everything: bool) -> Selection:
    chosen = [bool([*ids]), not selection.is_everything, everything]
    if sum(chosen) != 1:
        raise ConfigurationError(
            "Say which dead letters are meant: by ids, by filters (task, error, queue, older_than, newer_than), or "
            "everything=True; one of the three."
        )
    return selection


def _revival(letter: Letter, now_ms: int) -> Revival:
    message = _message_in(letter)
    return Revival(letter, revived(letter.body, due_ms=now_ms), message.priority if message else 0)


def _decoded(letter: Letter) -> DeadLetter:
    record = _record_in(letter)
    message = _message_in(letter) or Message(v=1, id=letter.id, task=record.task, queue=letter.queue)
    failure = record.error or Failure("")
    died_at = instant(letter.died_ms)
    assert died_at is not None
    return DeadLetter(
        id=letter.id,
        task=message.task,
        queue=letter.queue,
        args=message.args,
        kwargs=message.kwargs,
        labels=message.labels,
        reason=letter.reason,
        error_type=failure.type.replace(":", ".").removeprefix("builtins."),
        error=failure.message,
        traceback=failure.traceback,
        attempts=record.attempts,
        worker=record.worker,
        enqueued_at=instant(message.enqueued_ms),
        died_at=died_at,
        body=letter.body,
    )


def _message_in(letter: Letter) -> Message | None:
    """Return the message; None where it cannot be read, which may be what it died of."""
    try:
        return decode_message(letter.body)
    except DecodeError:
        return None


def _record_in(letter: Letter) -> Record:
    try:
        return decode_record(letter.record or b"")
    except DecodeError:
        return Record(id=letter.id, task="", status=Status.FAILED)
