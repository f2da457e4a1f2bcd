"""The store contract: what remembers facts about calls, for any process that asks.

A store is asked for what is known of an id and tells, without being polled, when that changes. Where transport and
store share a server, the transport's settlements write what the store reads.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import NamedTuple, TypeAlias

from asyncq.errors import NotSupported


class Place(StrEnum):
    """Where a message stands that has not ended."""

    READY = "ready"
    SCHEDULED = "scheduled"
    RUNNING = "running"


class CallKey(NamedTuple):
    """What a call is looked up by.

    Attributes:
        id: the call's.
        queue: where it is thought to be; None: any queue. A wrong guess costs a second look, no wrong answer.
    """

    id: str
    queue: str | None = None


class Sighting(NamedTuple):
    """What the store knows of a call. Either a record, or a body with its place.

    Attributes:
        queue: where it is or was.
        record: its encoded result, when it has ended.
        body: its encoded message, while it has not.
        place: where that message stands.
        progress: the encoded progress it has reported; None: none.
        was_started: some consumer has once died with it, so that it counts as started.
    """

    queue: str
    record: bytes | None = None
    body: bytes | None = None
    place: Place | None = None
    progress: bytes | None = None
    was_started: bool = False


class Notice(NamedTuple):
    """What a store tells unasked about one call.

    Attributes:
        id: the call's.
        record: its encoded result; None with `is_over`: look it up (it is large) or find it gone.
        progress: what it has reported, encoded.
        is_over: the call has ended.
    """

    id: str
    record: bytes | None = None
    progress: bytes | None = None
    is_over: bool = False


class Listener(NamedTuple):
    """Where a store delivers to; called on the event loop, must not block and does not raise.

    Attributes:
        notice: take what is told.
        resync: notices may have been missed (the connection was cut): look up everything that is waited for. Of a
            `Replies`: they may be lost for good.
    """

    notice: Callable[[Sequence[Notice]], None]
    resync: Callable[[], None]


Address: TypeAlias = str


class Store(ABC):
    """A memory of calls. Opened and closed by the broker on one event loop, before and after its transport."""

    @abstractmethod
    async def open(self) -> None:
        """Connect, or raise BrokerUnavailable with what was tried."""

    @abstractmethod
    async def close(self) -> None:
        """Disconnect, and end listening."""

    @abstractmethod
    async def look(self, keys: Sequence[CallKey], *, watcher: Address = "") -> Sequence[Sighting | None]:
        """Return what is known of each call; None: nothing.

        Args:
            keys: the calls.
            watcher: an address that `listen` gave; it is told of every later change of those calls that have not
                ended, for some minutes or until it looks again. Looking and watching are one atomic step: no change
                falls between.
        """

    @abstractmethod
    async def unwatch(self, keys: Sequence[CallKey], watcher: Address) -> None:
        """Forget that the address wanted to be told of these calls."""

    @abstractmethod
    async def listen(self, listener: Listener) -> Address:
        """Start to deliver notices; return the address to publish with (`Message.reply`) and to watch under.

        Called once. It has taken effect on return: what is told from then on arrives, or `resync` is called. One
        connection, however many calls are waited for; reconnecting is the store's own affair.
        """

    @abstractmethod
    async def run(self) -> None:
        """Do the work of listening until cancelled. The broker runs it in its task group, after `listen`."""

    @abstractmethod
    async def report(self, key: CallKey, progress: bytes, *, reply: Address = "", ttl_ms: int) -> None:
        """Keep the latest progress of a running call and tell it to its publisher and those who watch."""


class Replies(Store):
    """A store without a memory: it tells a process how the calls end that it has published, and knows nothing else.

    An end is told once, with its whole record, however large; `Notice.record` is None where none is made. What is told
    while nobody listens waits in a reply queue, for as long as the server keeps that.

    `resync` is called where something may have been told in vain: the reply queue had to be made anew. `listen` does so
    before it returns, also when it is the first.

    Args:
        address: what this process publishes with, and `listen` returns. It is a process's, not a connection's: what is
            opened under it again goes on where the one before ended.
    """

    def __init__(self, address: Address) -> None:
        self.address = address

    async def look(self, keys: Sequence[CallKey], *, watcher: Address = "") -> Sequence[Sighting | None]:
        raise NotSupported("This store has no memory: it cannot be asked.")

    async def unwatch(self, keys: Sequence[CallKey], watcher: Address) -> None:
        raise NotSupported("This store has no memory: nothing is watched.")

    async def report(self, key: CallKey, progress: bytes, *, reply: Address = "", ttl_ms: int) -> None:
        raise NotSupported("This store has no memory: it keeps no progress.")
