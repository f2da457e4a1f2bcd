"""What tasks and handles need of a broker: the protocol that keeps them from knowing it."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Protocol, TypeVar

from asyncq.errors import DecodeError
from asyncq.message import Message, decode_message
from asyncq.result import Record
from asyncq.store import CallKey, Place, Sighting
from asyncq.terms import SlotTerm

T = TypeVar("T")


class Waiting(Protocol):
    """One who wants to know how a call ends.

    Attributes:
        id: the call's.
        queue: where the call is thought to be; None: anywhere.
        expires_ms: when the call expires; 0: never, or not known.
        is_told: the call was published with this process's address, so that its end is told unasked.
        record: the encoded result, once it has been told.
        slots: that it needs, where it was published here.
    """

    id: str
    queue: str | None
    expires_ms: int
    is_told: bool
    record: bytes | None
    slots: Sequence[SlotTerm]


class Calls(Protocol):
    """Publishes calls and knows how they stand."""

    def now_ms(self) -> int:
        """Return the time by the server's clock, or this machine's while there is no connection."""
        ...

    def reply_address(self) -> str:
        """Return the address to publish with; empty while nobody here has waited for a result that can be looked up."""
        ...

    async def publish(self, message: Message, *, is_fresh: bool) -> CallKey | None:
        """Publish; return the call that is there already instead, None: it was published. Raises what `kiq` raises."""
        ...

    def check_unique(self, task: str) -> None:
        """Raise NotSupported where nobody remembers who has a unique key."""
        ...

    def expect(self, waiting: Waiting) -> None:
        """Keep what is told about a call that is published with `reply_address`, for as long as `waiting` lives."""
        ...

    async def wait(self, waiting: Waiting, *, timeout: float | None, wait_for_publish: float) -> Record:
        """Return how the call ended. Raises ResultTimeout, ResultMissing and NotSupported."""
        ...

    async def look(self, key: CallKey) -> Sighting | None:
        """Return what is known of a call. Raises NotSupported where nothing is remembered."""
        ...

    async def expire(self, key: CallKey, message: Message) -> bool:
        """End a call whose time to start is over as EXPIRED; return False if it has started."""
        ...

    async def reschedule(self, key: CallKey, due_ms: int) -> bool:
        """Give a call that waits another time; return False where it runs. Raises ResultMissing and NotSupported."""
        ...

    async def cancel(self, key: CallKey) -> bool:
        """End a call as CANCELLED; return False if it has ended otherwise. Raises ResultMissing and NotSupported."""
        ...

    def watch(self, key: CallKey) -> AsyncIterator[Sighting | None]:
        """Yield what is known of a call now and after each change, until it has ended. Raises NotSupported."""
        ...

    def run_sync(self, call: Callable[[], Awaitable[T]], instead: str) -> T:
        """Run a coroutine from a thread without a running loop; `instead` names the awaitable form."""
        ...


def message_of(sighting: Sighting) -> Message | None:
    """Return the message of a call that has not ended; None where it has, or where its bytes are no message."""
    try:
        return None if sighting.body is None else decode_message(sighting.body)
    except DecodeError:  # a worker will say so, in the dead letters
        return None


def expiring_message(sighting: Sighting) -> Message | None:
    """Return the message of a call that expires and that no worker has ever started; else None."""
    message = message_of(sighting)
    if message is None or not message.expires_ms or message.attempt > 0:
        return None
    return None if sighting.place is Place.RUNNING or sighting.was_started else message
