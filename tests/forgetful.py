"""A broker without a memory: queues in this process that know no ids, as those of RabbitMQ without a store.

It does what is asked of such a broker and no more: what is handed back goes to the end, nobody counts what runs, and an
end is told once.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from asyncq import Broker, PublishRefused, Queue
from asyncq.errors import LeaseLost
from asyncq.store import Address, Listener, Replies, Store
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
from asyncq.turns import pass_turns
from tests.forgetful_server import Item, Mailbox, Server


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
        await pass_turns()
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
        has_uniqueness=False,
        reschedules=False,
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
        return [self._revive(*revival[:3]) for revival in revivals]

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
        if self.address not in self._server.mailboxes:
            self._server.mailboxes[self.address] = Mailbox()
            listener.resync()
        self._server.mailboxes[self.address].resync = listener.resync
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
