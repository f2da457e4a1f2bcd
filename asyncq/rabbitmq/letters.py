"""The dead letters: in a queue beside each queue, looked at by taking all of them and giving them back."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import TypeAlias

from asyncq.errors import BrokerUnavailable
from asyncq.ledger import Copy
from asyncq.rabbitmq.client import RabbitClient
from asyncq.rabbitmq.deliveries import Arrival
from asyncq.rabbitmq.sending import Parcel, Sending
from asyncq.rabbitmq.taking import taking
from asyncq.rabbitmq.wire import Facts, expires_ms, letter_in
from asyncq.transport import DeadLetter, Envelope, Revival, Revived

SLACK = 10
"""A part of the cap: so many letters more may be there before the oldest are taken away."""


Reopen: TypeAlias = Callable[[Sequence[Revival]], Awaitable[Sequence[int | None]]]
Placed: TypeAlias = Callable[[Sequence[Copy]], Awaitable[None]]
Close: TypeAlias = Callable[[Revival], Awaitable[bool]]


class LetterBox:
    """The dead letters of a namespace.

    The server gives what is at the head of a queue, and knows no ids. So whoever looks takes all there is.

    How long a letter lives, and how many there are, is not said by arguments of the queue: those could never be changed
    without losing what is in it. Each message has its time to live; the server lets it go when it is at the head by
    then, and whoever looks lets go of the others. How many there are is seen to by who buries.

    Args:
        client: its connections.
        now_ms: the time.
        cap: letters that are kept of each queue; the oldest make room.
        reopen: asked before letters are published again; says for each in which generation, None: not at all.
        placed: told of those that were published.
        close: told of each that was refused; says whether it stays dead. Else somebody has published it by now.
    """

    def __init__(
        self, client: RabbitClient, now_ms: Callable[[], int], *, cap: int, reopen: Reopen, placed: Placed, close: Close
    ) -> None:
        self._client = client
        self._sending = Sending(client, now_ms)
        self._now_ms = now_ms
        self._cap = cap
        self._reopen = reopen
        self._placed = placed
        self._close = close
        self._turn = asyncio.Lock()

    async def newest(self, queue: str, limit: int, before: int | None) -> list[DeadLetter]:
        """Return the newest letters of a queue that died before a place, newest first."""
        async with self._opened(queue) as there:
            found = [letter for letter, _ in there if before is None or letter.place < before]
        return found[::-1][:limit]

    async def find(self, queue: str, ids: Sequence[str]) -> list[DeadLetter | None]:
        """Return the newest letter of each id."""
        async with self._opened(queue) as there:
            found = {letter.id: letter for letter, _ in there}
        return [found.get(id) for id in ids]

    async def drop(self, letters: Sequence[DeadLetter]) -> list[bool]:
        """Forget letters of one queue; return for each whether it was there."""
        if not letters:
            return []
        async with self._opened(letters[0].queue) as there:
            arrivals = _claimed(letters, there)
            for arrival in arrivals:
                if arrival is not None:
                    arrival.acknowledge()
        return [arrival is not None for arrival in arrivals]

    async def revive(self, revivals: Sequence[Revival]) -> list[Revived]:
        """Let letters of one queue run again: published, confirmed, and then forgotten.

        Raises:
            PublishRefused: for one of them at least. It stays dead; those that were taken run, and have no letters.
        """
        if not revivals:
            return []
        outcomes = [Revived.GONE] * len(revivals)
        async with self._opened(revivals[0].letter.queue) as there:
            arrivals = _claimed([revival.letter for revival in revivals], there)
            found = [index for index, arrival in enumerate(arrivals) if arrival is not None]
            generations = await self._reopen([revivals[index] for index in found])
            copies: dict[int, Copy] = {}
            for index, generation in zip(found, generations, strict=True):
                outcomes[index] = Revived.TAKEN if generation is None else Revived.DONE
                if generation is not None:
                    letter, body, priority, *_ = revivals[index]
                    copies[index] = Copy(letter.id, letter.queue, body, priority, generation)
            refusals = await self._sending.send([self._parcel(copy) for copy in copies.values()])
            refused = {index: refusal for index, refusal in zip(copies, refusals, strict=True) if refusal is not None}
            self._forget(arrivals[index] for index in copies if index not in refused)
            for index in list(refused):
                if not await self._close(revivals[index]):
                    del refused[index]
                    self._forget([arrivals[index]])
        with suppress(BrokerUnavailable):  # they are published once more, and told from the ledger
            await self._placed([copy for index, copy in copies.items() if index not in refused])
        if refused:
            raise next(iter(refused.values()))
        return outcomes

    async def make_room(self, queues: Iterable[str]) -> None:
        """Forget the oldest letters of queues that have more than may be. Raises BrokerUnavailable."""
        for queue in queues:
            if await self._client.count(self._client.names.dead_letters(queue)) > self._cap + self._cap // SLACK:
                async with self._opened(queue) as there:
                    for _, arrival in there[: -self._cap]:
                        arrival.acknowledge()

    def _parcel(self, copy: Copy) -> Parcel:
        id, queue, body, priority, *_ = copy
        return self._sending.call(Envelope(id, queue, body, priority), facts=Facts(generation=copy.generation))

    def _forget(self, arrivals: Iterable[Arrival | None]) -> None:
        for arrival in arrivals:
            if arrival is not None:
                arrival.acknowledge()

    @asynccontextmanager
    async def _opened(self, queue: str) -> AsyncGenerator[Sequence[tuple[DeadLetter, Arrival]]]:
        """Give the letters of a queue with what can be acknowledged, the oldest first; of each id the newest only."""
        names = self._client.names
        async with self._turn, taking(self._client, queue, names.dead_letters(queue), names.looking(queue)) as arrivals:
            now_ms = self._now_ms()
            newest: dict[object, tuple[DeadLetter, Arrival]] = {}
            for letter, arrival in sorted(((letter_in(arrival), arrival) for arrival in arrivals), key=_place):
                if 0 < expires_ms(letter, arrival) <= now_ms:
                    arrival.acknowledge()
                    continue
                key = arrival if letter.record is None else letter.id  # of what no worker has put aside each is another
                if key in newest:  # its worker did not know whether it was published, and has published it again
                    newest.pop(key)[1].acknowledge()
                newest[key] = (letter, arrival)
            yield list(newest.values())


def _place(pair: tuple[DeadLetter, Arrival]) -> int:
    return pair[0].place


def _claimed(letters: Sequence[DeadLetter], there: Iterable[tuple[DeadLetter, Arrival]]) -> list[Arrival | None]:
    """Return the arrival of each letter, each once."""
    found = {(letter.id, letter.place): arrival for letter, arrival in there}
    return [found.pop((letter.id, letter.place), None) for letter in letters]
