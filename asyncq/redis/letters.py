"""The dead letters, as they are read, dropped and put back."""

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar, cast

from asyncq.redis.client import RedisClient
from asyncq.redis.keys import KeySpace
from asyncq.redis.publishing import how_given_back
from asyncq.redis.script import all_scripts
from asyncq.redis.server import Argument, Call, Command, Reply, call
from asyncq.terms import encode_terms
from asyncq.transport import DeadLetter, Revival, Revived

T = TypeVar("T")

LETTERS_AT_ONCE = 100
"""Letters in one script call: it holds up everybody else while it runs."""

_UNKNOWN_QUEUE = -1
"""Answer of scripts/revive.lua."""


class LetterBox:
    """The dead letters of a namespace."""

    def __init__(self, client: RedisClient, space: KeySpace) -> None:
        self._commands = client.commands
        self._space = space

    async def newest(self, queue: str, limit: int, before: int | None) -> list[DeadLetter]:
        """Return the newest letters of a queue that died before a place, newest first."""
        found: list[DeadLetter] = []
        while len(found) < limit:
            wanted = min(limit - len(found), LETTERS_AT_ONCE)
            command = call("letters", self._space.queue(queue), wanted, "" if before is None else before)
            [reply] = await self._commands.call([command], wanted="read dead letters")
            entries = zip(reply[::3], reply[1::3], reply[2::3], strict=True)
            page = [_letter(queue, id.decode(), place, letter) for id, place, letter in entries]
            found += page
            if not page:
                break
            before = page[-1].place
        return found

    async def find(self, queue: str, ids: Sequence[str]) -> list[DeadLetter | None]:
        """Return the letter of each id."""
        found: list[DeadLetter | None] = []
        for part in _parts(ids):
            command = call("find_letters", self._space.queue(queue), *part)
            [reply] = await self._commands.call([command], wanted="read dead letters")
            found += [seen and _letter(queue, id, *seen) for id, seen in zip(part, reply, strict=True)]
        return found

    async def drop(self, letters: Sequence[DeadLetter]) -> list[bool]:
        """Forget letters of one queue; return for each whether it was there."""
        dropped: list[bool] = []
        for part in _parts(letters):
            dropped += await self._drop(part)
        return dropped

    async def revive(self, revivals: Sequence[Revival]) -> list[Revived]:
        """Let letters of one queue run again."""
        revived: list[Revived] = []
        for part in _parts(revivals):
            reply = _UNKNOWN_QUEUE
            while reply == _UNKNOWN_QUEUE:  # a queue that was used for the first time since we asked
                reply = await self._revive(part, await self.known_queues())
            revived += [Revived(answer.decode()) for answer in cast("list[bytes]", reply)]
        return revived

    async def known_queues(self) -> list[str]:
        """Return the queues that were ever published to."""
        [names] = await self._commands.call([("SMEMBERS", self._space.own["queues"])], wanted="look")
        return sorted(name.decode() for name in names)

    async def _drop(self, letters: Sequence[DeadLetter]) -> list[bool]:
        keys = self._space.queue(letters[0].queue)
        words = [word for letter in letters for word in (letter.id, letter.place)]
        reply = await self._call(lambda again: call("drop_letters", keys, again, *words), "drop dead letters")
        return list(map(bool, reply))

    async def _revive(self, revivals: Sequence[Revival], known: Iterable[str]) -> Reply:
        queue = revivals[0].letter.queue
        keys = [*all_scripts()["revive"].select(self._space.queue(queue))]
        for other in known:
            if other != queue:
                keys += self._space.queue(other).select(("messages", "result"))
        words: list[Argument] = []
        for letter, body, priority, unique, terms in revivals:
            key = f"{how_given_back(unique)} {unique.key}" if unique is not None else ""
            words += [f"{priority}{letter.id}", letter.place, letter.record or b"", body, key]
            words.append("" if terms is None else encode_terms(terms))
        return await self._call(lambda again: Call("revive", tuple(keys), [again, *words]), "put back dead letters")

    async def _call(self, make: Callable[[int], Call], wanted: str) -> Reply:
        """Call a script that is told whether it may have been run already."""
        again: Callable[[], Sequence[Command]] = lambda: [make(1)]  # noqa: E731
        [reply] = await self._commands.call([make(0)], wanted=wanted, again=again)
        return reply


def _parts(items: Sequence[T]) -> list[Sequence[T]]:
    return [items[start : start + LETTERS_AT_ONCE] for start in range(0, len(items), LETTERS_AT_ONCE)]


def _letter(queue: str, id: str, place: bytes, letter: Reply) -> DeadLetter:
    head, _, rest = letter.partition(b"\n")
    body_size, reason_size, has_record = map(int, head.split())
    reason_end = body_size + reason_size
    died_us = int(float(place))
    return DeadLetter(
        id,
        queue,
        rest[:body_size],
        rest[body_size:reason_end].decode(),
        rest[reason_end:] if has_record else None,
        died_us // 1000,
        died_us,
    )
