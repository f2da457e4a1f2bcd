"""The lookout: finds out from the sentinels that the master has changed, although the old one still answers."""

import asyncio
from collections import defaultdict
from random import Random

from asyncq.redis.connecting import ask
from asyncq.redis.faults import FAULTS
from asyncq.redis.server import Server
from asyncq.redis.topology import Node, Sentinels

LOOK_SECONDS = 4.0, 6.0
"""Between two looks, so that not everybody looks at the same time."""


class Lookout:
    """Asks the sentinels every few seconds. Where there are none it has nothing to do.

    A master that is cut off from them and not from us goes on to take what will be lost when it is back. Asking costs
    no more than the pings of a subscription to their news would, and cannot miss the one message that matters.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._turn = asyncio.Lock()
        self._random = Random()

    async def run(self) -> None:
        """Look out until cancelled; of several who ask for it one does it for all."""
        topology = self._server.topology
        if not isinstance(topology, Sentinels):
            return
        async with self._turn:
            while True:
                await asyncio.sleep(self._random.uniform(*LOOK_SECONDS))
                await self._look(topology)

    async def _look(self, topology: Sentinels) -> None:
        """Take note of a master that more than half of the sentinels name: one alone may be cut off itself."""
        named: dict[Node, list[Node]] = defaultdict(list)
        for sentinel in topology.sentinels:
            try:
                [address] = await ask(self._server, topology.question(sentinel))
                named[topology.answer(sentinel, address)].append(sentinel)
            except FAULTS:
                continue
        for node, by in named.items():
            if 2 * len(by) > len(topology.sentinels):
                topology.prefer(by[0])
                self._server.expect(node)
