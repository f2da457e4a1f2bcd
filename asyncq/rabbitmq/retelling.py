"""The retelling: replies that the queue of a process did not take are offered again, until it does or is given up."""

import asyncio
import logging
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from random import Random
from typing import NamedTuple

from asyncq.backoff import Backoff
from asyncq.errors import BrokerUnavailable, PublishRefused
from asyncq.rabbitmq.confirming import NotTaken
from asyncq.rabbitmq.sending import Parcel, Sending

logger = logging.getLogger("asyncq.rabbitmq")

KEPT = 60.0
"""Seconds for which a reply is offered. Who waits for it has turned to another queue by then: see `replies.SILENT`."""

MAX_BYTES, OVERHEAD = 16_000_000, 1_000
"""Bound of what is kept, and what a reply takes besides its record."""

LAST = 1.0
"""Seconds in which the last offer must be taken: a worker that stops has little time."""

_AGAIN = Backoff(delay=0.1, max_delay=1.0)


class _Reply(NamedTuple):
    """What a process has yet to be told.

    Attributes:
        until: when it is dropped, by `time.monotonic()`.
    """

    parcel: Parcel
    until: float

    @property
    def size(self) -> int:
        return OVERHEAD + len(self.parcel.message.body)


class Retelling:
    """Keeps the replies that were refused because the node of their queue was down.

    From RabbitMQ 4.0 on, a process hears only after a while that this node is down; it hears nothing of that where the
    node is back before. A reply that was dropped meanwhile would be waited for without end.

    Args:
        sending: what publishes.
    """

    def __init__(self, sending: Sending) -> None:
        self._sending = sending
        self._kept: dict[str, list[_Reply]] = {}  # by address
        self._bytes = 0
        self._is_full = False
        self._has_some = asyncio.Event()
        self._turn = asyncio.Lock()
        self._random = Random()

    def put(self, replies: Sequence[Parcel], refusals: Sequence[PublishRefused | None]) -> None:
        """Keep those that were not taken. Of what is refused otherwise nobody wants to hear any more."""
        until = time.monotonic() + KEPT
        self._keep(
            _Reply(reply, until)
            for reply, refusal in zip(replies, refusals, strict=True)
            if isinstance(refusal, NotTaken)
        )

    def line_up(self, replies: Sequence[Parcel]) -> Sequence[Parcel]:
        """Keep those for processes that have yet to take others; return the rest.

        So who settles waits for what such a process does not take only once.
        """
        if not self._kept:
            return replies
        until = time.monotonic() + KEPT
        behind = {reply.message.routing_key for reply in replies} & self._kept.keys()
        self._keep(_Reply(reply, until) for reply in replies if reply.message.routing_key in behind)
        return [reply for reply in replies if reply.message.routing_key not in behind]

    async def run(self) -> None:
        """Offer them again until cancelled."""
        failures = 0
        while True:
            await self._has_some.wait()
            try:
                failures = 0 if await self._offer() else failures + 1
            except BrokerUnavailable:
                failures += 1
            if failures:
                await asyncio.sleep(_AGAIN.seconds(failures, self._random))

    async def finish(self) -> None:
        """Offer them for the last time, and say so if that does not help."""
        if self._kept:
            with suppress(BrokerUnavailable, TimeoutError):
                async with asyncio.timeout(LAST):
                    await self._offer()
        if self._kept:
            count = sum(map(len, self._kept.values()))
            logger.warning("%d results are told to nobody: the node is down on which they are waited for.", count)

    async def _offer(self) -> bool:
        """Offer one reply to each process, and the rest to those that took it; return whether any did."""
        async with self._turn:
            self._drop_old()
            firsts = {address: replies[0] for address, replies in self._kept.items()}
            refusals = await self._sending.send([reply.parcel for reply in firsts.values()], insist=False)
            answers = zip(firsts, refusals, strict=True)
            told = [address for address, refusal in answers if not isinstance(refusal, NotTaken)]
            for address in told:
                await self._offer_rest(self._take(address)[1:])
            return bool(told)

    async def _offer_rest(self, rest: Sequence[_Reply]) -> None:
        refusals: Sequence[PublishRefused | None] = [NotTaken()] * len(rest)
        try:
            refusals = await self._sending.send([reply.parcel for reply in rest], insist=False)
        finally:
            pairs = zip(rest, refusals, strict=True)
            self._keep(reply for reply, refusal in pairs if isinstance(refusal, NotTaken))

    def _drop_old(self) -> None:
        now = time.monotonic()
        for address in list(self._kept):
            self._keep(reply for reply in self._take(address) if reply.until > now)

    def _keep(self, replies: Iterable[_Reply]) -> None:
        for reply in replies:
            if self._bytes + reply.size > MAX_BYTES:
                if not self._is_full:
                    logger.warning("Results are told to nobody: too many wait for a node that is down.")
                self._is_full = True
                break
            self._bytes += reply.size
            self._kept.setdefault(reply.parcel.message.routing_key, []).append(reply)
        if self._kept:
            self._has_some.set()

    def _take(self, address: str) -> list[_Reply]:
        replies = self._kept.pop(address)
        self._bytes -= sum(reply.size for reply in replies)
        if not self._kept:
            self._is_full = False
            self._has_some.clear()
        return replies
