"""The orders: what a consumer is told of calls that it holds and that are over."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress

from asyncq.errors import BrokerUnavailable
from asyncq.redis.client import RedisClient
from asyncq.redis.keys import KeySpace
from asyncq.redis.notices import Subscription
from asyncq.transport import Delivery

ORDER_MS = 600_000
"""How long an order is kept for a consumer that is cut off."""

SILENCE_SECONDS = 12.0
"""Of the subscription, until it asks whether the server is there: every idle worker does."""

MAX_REMEMBERED = 2_000
"""Orders that a consumer remembers, so that none is obeyed twice: twice as many as one fetch can bring deliveries."""

STRUCK_OUT_AT_ONCE = 500


class Orders:
    """What one consumer is told. An order names a delivery by its token: a later one of the same call is another.

    Whoever withdraws a call that is lent publishes the order, and keeps it for the holder to read when it subscribes.
    The holder strikes out what it has obeyed: it reads all that is left at once.
    """

    def __init__(self, client: RedisClient, space: KeySpace, name: str) -> None:
        self._client = client
        self._key = space.own["orders"] + name
        self._subscription = Subscription(client.server, self._key, silence=SILENCE_SECONDS)
        self._tokens: dict[str, None] = {}
        self._obeyed: list[bytes] = []
        self._has_obeyed = asyncio.Event()

    def are_given_for(self, token: str) -> bool:
        """Say whether a delivery is known to be over."""
        return token in self._tokens

    def without_severed(self, deliveries: list[Delivery]) -> list[Delivery]:
        """Leave out what has just been fetched and is over: the order was here first, on its own connection."""
        if not self._tokens:
            return deliveries
        return [delivery for delivery in deliveries if delivery.token not in self._tokens]

    async def run(
        self, severed: Callable[[Sequence[str]], None], *, reconnected: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        """Call `severed` with the tokens of deliveries that are over, until cancelled.

        Args:
            severed: must not block.
            reconnected: called whenever the server may be another one, or may have been emptied; may raise
                BrokerUnavailable, and is then called again.
        """

        def take(orders: Iterable[bytes]) -> None:
            if tokens := self._new_tokens(orders):
                severed(tokens)
            self._obeyed += orders
            self._has_obeyed.set()

        async def catch_up() -> None:
            [orders] = await self._client.commands.call([("SMEMBERS", self._key)], wanted="look for orders")
            take(orders)
            if reconnected is not None:
                await reconnected()

        try:
            async with asyncio.TaskGroup() as doers:
                doers.create_task(self._subscription.run(lambda order: take([order]), catch_up))
                doers.create_task(self._strike_out())
        finally:
            await self._subscription.close()

    async def _strike_out(self) -> None:
        """Remove what was obeyed, until cancelled. What an outage leaves is struck out after the next catching up."""
        while True:
            await self._has_obeyed.wait()
            self._has_obeyed.clear()
            while obeyed := self._obeyed[:STRUCK_OUT_AT_ONCE]:
                del self._obeyed[: len(obeyed)]
                with suppress(BrokerUnavailable):
                    await self._client.commands.call([("SREM", self._key, *obeyed)], wanted="strike out orders")

    def _new_tokens(self, orders: Iterable[bytes]) -> list[str]:
        tokens = [token for token in map(bytes.decode, orders) if token not in self._tokens]
        self._tokens.update(dict.fromkeys(tokens))
        while len(self._tokens) > MAX_REMEMBERED:
            del self._tokens[next(iter(self._tokens))]
        return tokens
