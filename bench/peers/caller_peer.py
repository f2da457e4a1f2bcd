"""A floor under the names of the peers: what both floors' callers have in common."""

from collections.abc import Awaitable
from typing import Protocol

from bench.peers.peer import Peer, Queued


class Caller(Protocol):
    """The client's side of a floor."""

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    def publish(self, task: str, argument: object, /) -> Awaitable[object]: ...

    def call(self, task: str, argument: object, /) -> Awaitable[object]: ...


class CallerPeer(Peer):
    """Passes on what is asked."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    async def open(self) -> None:
        await self._caller.open()

    async def close(self) -> None:
        await self._caller.close()

    def enqueue(self, task: Queued, payload: str) -> Awaitable[object]:
        return self._caller.publish(task, payload)

    def call(self, value: int) -> Awaitable[object]:
        return self._caller.call("echo", value)
