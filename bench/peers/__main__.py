"""A client process: `python -m bench.peers MODULE ORDER` prints the answer to one order, both as JSON."""

import asyncio
import json
import sys
from importlib import import_module

import uvloop

from bench.peers.client import Client
from bench.peers.peer import Peer


async def obey(module: str, order: str) -> None:
    """Open the peer, carry the order out, print the answer as the last line."""
    peer: Peer = import_module(f"bench.peers.{module}").PEER()
    async with peer:
        answer = await Client(peer).obey(json.loads(order))
        loop = type(asyncio.get_running_loop()).__module__
    print(json.dumps({**answer, "loop": loop}), flush=True)


if __name__ == "__main__":
    uvloop.run(obey(*sys.argv[1:]))
