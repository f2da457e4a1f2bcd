"""A broker without a memory: queues in this process that know no ids, as those of RabbitMQ without a store.

It does what is asked of such a broker and no more: what is handed back goes to the end, nobody counts what runs, and an
end is told once.
"""

import asyncio
import time
from bisect import insort
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from typing import Any, NamedTuple

from asyncq import Broker, PublishRefused, Queue
from asyncq.clock import SystemClock
from asyncq.errors import LeaseLost
from asyncq.store import Address, Listener, Notice, Replies, Store
from asyncq.transport import (
    SUSPECT_CRASHES,
    Again,
    Capabilities,
    Consumer,
    Counts,
    Dead,
    DeadLetter,
    Delivery,
    Done,
    Envelope,
    Member,
    NoLease,
    Outcome,
    Receipt,
    Return,
    Revival,
    Revived,
    Settlement,
    Transport,
)


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


class ForgetfulConsumer(Consumer):
    """A consumer whose hold on a delivery is its token and nothing else."""

    def __init__(self, server: Server, name: str, dead_cap: int) -> None:
        self.name = name
        self._server = server
        self._dead_cap = dead_cap
        self._held: dict[str, Item] = {}
        self._is_interrupted = False
        self._has_left = False

    @property
    def answered_at(self) -> float:
        return time.monotonic()

    async def run(self, severed: Callable[[Sequence[str]], None]) -> None:
        await asyncio.Event().wait()

    async def fetch(
        self, limits: Mapping[str, int], count: int, *, wait: bool = True, suspects: int = 1
    ) -> Sequence[Delivery]:
        await asyncio.sleep(0)
        while not self._has_left:
            pause = self._server.pass_on()
            deliveries = self._take(limits, count, suspects)
            if deliveries or not wait or self._is_interrupted:
                self._is_interrupted = False
                return deliveries
            await self._server.change(pause)
        raise LeaseLost(f"{self.name} has left.")

    async def interrupt(self) -> None:
        self._is_interrupted = True
        for future in self._server.waiting:
            if not future.done():
                future.set_result(None)

    async def settle(self, settlements: Sequence[Settlement]) -> Sequence[bool]:
        return [self._settle(settlement) for settlement in settlements]

    async def absolve(self) -> None:
        """Do nothing: nobody is taken for dead who is not."""

    def lease(self) -> NoLease:
        return NoLease()

    async def leave(self) -> int:
        return self.die(crashes=0)

    def die(self, *, crashes: int = 1) -> int:
        """Let go of what is held."""
        self._has_left = True
        held, self._held = self._held, {}
        for item in held.values():
            self._server.put(item.envelope, item.crashes + crashes)
        return len(held)

    def _take(self, limits: Mapping[str, int], count: int, suspects: int) -> list[Delivery]:
        deliveries: list[Delivery] = []
        for queue, limit in limits.items():
            left = min(limit, count - len(deliveries))
            for item in list(self._server.ready[queue]) if left > 0 else ():
                if item.crashes >= SUSPECT_CRASHES:
                    if not suspects:
                        continue
                    suspects -= 1
                self._server.ready[queue].remove(item)
                deliveries.append(self._lend(item))
                left -= 1
                if not left:
                    break
        return deliveries

    def _lend(self, item: Item) -> Delivery:
        token = f"{self.name}-{next(self._server.numbers)}"
        self._held[token] = item
        envelope = item.envelope
        return Delivery(envelope.id, envelope.queue, envelope.body, envelope.priority, token, item.crashes)

    def _settle(self, settlement: Settlement) -> bool:
        item = self._held.pop(settlement.delivery.token, None)
        if item is None:
            return False
        match settlement:
            case Done(delivery, outcome, then):
                self._end(delivery, outcome, then)
            case Again(_, body, due_ms):
                self._server.put(item.envelope._replace(body=body, due_ms=due_ms), item.crashes)
            case Return(_, is_crash):
                self._server.put(item.envelope, item.crashes + is_crash)
            case Dead(delivery, outcome, _, _, then):
                self._server.bury(settlement)
                self._server.letters[delivery.queue] = self._server.letters[delivery.queue][-self._dead_cap :]
                self._end(delivery, outcome, then)
        return True

    def _end(self, delivery: Delivery, outcome: Outcome, then: Sequence[Envelope]) -> None:
        for envelope in then:
            self._server.put(envelope)
        self._server.tell(delivery.id, outcome)


class ForgetfulTransport(Transport):
    """A connection to the server: what its consumers hold goes back when it is closed."""

    capabilities = Capabilities(
        is_shared=True,
        has_memory=False,
        keeps_place=False,
        has_priorities=False,
        counts_running=False,
        remedy='ForgetfulBroker(store="...")',
    )

    def __init__(self, server: Server, *, queues: Sequence[Queue] = (), dead_cap: int = 10_000) -> None:
        self._server = server
        self._max_lengths = {queue.name: queue.max_length for queue in queues}
        self._dead_cap = dead_cap
        self._consumers: list[ForgetfulConsumer] = []

    async def open(self) -> None:
        """Do nothing: it is there."""

    async def close(self) -> None:
        for consumer in self._consumers:
            consumer.die()

    def now_ms(self) -> int:
        return self._server.clock.now_ms()

    async def publish(self, envelopes: Sequence[Envelope]) -> Sequence[Receipt]:
        return [self._publish(envelope) for envelope in envelopes]

    async def consumer(self, name: str, queues: Sequence[str], *, lease: float) -> ForgetfulConsumer:
        consumer = ForgetfulConsumer(self._server, name, self._dead_cap)
        self._consumers.append(consumer)
        return consumer

    async def withdraw(self, id: str, queue: str, outcome: Outcome, *, even_running: bool = False) -> bool:
        raise self.capabilities.without_memory("withdraw()")

    async def release(self, names: Sequence[str]) -> int:
        return 0

    async def counts(self, queues: Sequence[str]) -> Sequence[Counts]:
        self._server.pass_on()
        return [Counts(len(self._server.ready[queue]), 0, 0, len(self._server.letters_of(queue))) for queue in queues]

    async def first_in_line(self, queues: Sequence[str]) -> Sequence[Sequence[bytes]]:
        self._server.pass_on()
        return [
            list({item.rank[0]: item.envelope.body for item in reversed(self._server.ready[queue])}.values())
            for queue in queues
        ]

    async def known_queues(self) -> Sequence[str]:
        return sorted(self._server.ready)

    async def members(self) -> Sequence[Member]:
        return []

    async def dead_letters(self, queue: str, *, limit: int = 100, before: int | None = None) -> Sequence[DeadLetter]:
        letters = self._server.letters_of(queue)
        return [letter for letter in letters if before is None or letter.place < before][:limit]

    async def find_letters(self, queue: str, ids: Sequence[str]) -> Sequence[DeadLetter | None]:
        letters = self._server.letters_of(queue)
        return [next((letter for letter in letters if letter.id == id), None) for id in ids]

    async def drop_letters(self, letters: Sequence[DeadLetter]) -> Sequence[bool]:
        return [self._server.drop(letter) for letter in letters]

    async def revive(self, revivals: Sequence[Revival]) -> Sequence[Revived]:
        return [self._revive(*revival) for revival in revivals]

    def _publish(self, envelope: Envelope) -> Receipt:
        max_length = self._max_lengths.get(envelope.queue)
        waiting = [item for item in self._server.later if item.envelope.queue == envelope.queue]
        if max_length is not None and len(self._server.ready[envelope.queue]) + len(waiting) >= max_length:
            return PublishRefused(f"Queue {envelope.queue!r} is full.")
        self._server.put(envelope)
        return None

    def _revive(self, letter: DeadLetter, body: bytes, priority: int) -> Revived:
        if not self._server.drop(letter):
            return Revived.GONE
        self._server.put(Envelope(letter.id, letter.queue, body, priority))
        return Revived.DONE


class ForgetfulReplies(Replies):
    """A reply queue, which stays when who listens goes."""

    def __init__(self, server: Server, address: Address) -> None:
        super().__init__(address)
        self._server = server
        self._listener: Listener | None = None

    async def open(self) -> None:
        """Do nothing: it is there."""

    async def close(self) -> None:
        if self._listener is not None:
            self._server.mailboxes[self.address].resync = None

    async def listen(self, listener: Listener) -> Address:
        self._listener = listener
        self._server.mailboxes.setdefault(self.address, Mailbox()).resync = listener.resync
        return self.address

    async def run(self) -> None:
        mailbox = self._server.mailboxes[self.address]
        mailbox.filled = asyncio.Event()
        while True:
            notices, mailbox.notices = mailbox.notices, []
            if notices and self._listener is not None:
                self._listener.notice(notices)
            mailbox.filled.clear()
            if not mailbox.notices:
                await mailbox.filled.wait()


class ForgetfulBroker(Broker):
    """The broker on such a server."""

    capabilities = ForgetfulTransport.capabilities

    def __init__(self, *, server: Server | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.server = server or Server()

    def describe(self) -> str:
        return "forgetful://"

    def connect(self) -> tuple[Transport, Store]:
        transport = ForgetfulTransport(self.server, queues=list(self.queues.values()), dead_cap=self.dead_letter_cap)
        return transport, ForgetfulReplies(self.server, self.reply_address())
