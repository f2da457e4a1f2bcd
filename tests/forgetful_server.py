"""What a broker without a memory runs on: queues in this process that know no ids, and replies that are told once."""

import asyncio
from bisect import insort
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from typing import NamedTuple

from asyncq.clock import SystemClock
from asyncq.store import Address, Notice
from asyncq.transport import Dead, DeadLetter, Envelope, Outcome


class Item(NamedTuple):
    """A message where it stands: in the order in which it is fetched."""

    rank: tuple[int, int]
    envelope: Envelope
    crashes: int


@dataclass
class Mailbox:
    """What is told to one address, and not heard yet."""

    notices: list[Notice] = field(default_factory=list[Notice])
    filled: asyncio.Event = field(default_factory=asyncio.Event)
    resync: Callable[[], None] | None = None


class Server:
    """What outlives connections: queues, delayed messages, dead letters and reply queues."""

    def __init__(self) -> None:
        self.clock = SystemClock()
        self.ready: dict[str, list[Item]] = defaultdict(list)
        self.later: list[Item] = []
        self.letters: dict[str, list[tuple[DeadLetter, int]]] = defaultdict(list)
        self.mailboxes: dict[Address, Mailbox] = {}
        self.numbers = count(1)
        self.waiting: set[asyncio.Future[None]] = set()

    def put(self, envelope: Envelope, crashes: int = 0) -> None:
        """Make a message ready at the end of its queue, or when it is due."""
        item = Item((-envelope.priority, next(self.numbers)), envelope, crashes)
        if envelope.due_ms > self.clock.now_ms():
            insort(self.later, item, key=lambda item: item.envelope.due_ms)
        else:
            insort(self.ready[envelope.queue], item)
        for future in self.waiting:
            if not future.done():
                future.set_result(None)

    def pass_on(self) -> float | None:
        """Move what has become due; return the seconds until more does."""
        while self.later and self.later[0].envelope.due_ms <= self.clock.now_ms():
            _, envelope, crashes = self.later.pop(0)
            self.put(envelope._replace(due_ms=0), crashes)
        return (self.later[0].envelope.due_ms - self.clock.now_ms() + 1) / 1000 if self.later else None

    async def change(self, seconds: float | None) -> None:
        """Wait for a message, or for so many seconds."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.waiting.add(future)
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await future
        finally:
            self.waiting.discard(future)

    def tell(self, id: str, outcome: Outcome) -> None:
        """Tell an end to its address, if that is anybody's."""
        mailbox = self.mailboxes.get(outcome.reply)
        if mailbox is not None:
            mailbox.notices.append(Notice(id, outcome.record, is_over=True))
            mailbox.filled.set()

    def bury(self, dead: Dead) -> None:
        """Keep a dead letter."""
        delivery, now_ms = dead.delivery, self.clock.now_ms()
        letter = DeadLetter(
            delivery.id, delivery.queue, delivery.body, dead.reason, dead.letter_record, now_ms, next(self.numbers)
        )
        self.letters[delivery.queue].append((letter, now_ms + dead.letter_ttl_ms))

    def letters_of(self, queue: str) -> list[DeadLetter]:
        """Return the dead letters of a queue, newest first."""
        return [letter for letter, ends_ms in reversed(self.letters[queue]) if ends_ms > self.clock.now_ms()]

    def drop(self, letter: DeadLetter) -> bool:
        """Forget a dead letter; return whether it was there."""
        is_there = letter in self.letters_of(letter.queue)
        self.letters[letter.queue] = [pair for pair in self.letters[letter.queue] if pair[0] != letter]
        return is_there

    def lose_replies(self) -> None:
        """Lose what was told and not heard, as a reply queue that has expired."""
        for mailbox in self.mailboxes.values():
            mailbox.notices.clear()
            if mailbox.resync is not None:
                mailbox.resync()
