"""Cancelling: how a call ends because somebody says so, wherever it stands."""

from collections.abc import Awaitable, Callable

from asyncq.broker.ending import Keeping, cancellation_of
from asyncq.errors import DecodeError, ResultMissing
from asyncq.message import PROTOCOL_VERSION, Message, decode_message
from asyncq.result import Status, decode_record
from asyncq.store import CallKey, Sighting
from asyncq.transport import Transport


class Cancelling:
    """Cancels calls.

    The end is written in one step, there and then, also of a call that runs: its worker can settle nothing any more
    and is told to stop. So the answer is final before the worker has heard of it, or while it is frozen or gone.

    Args:
        transport: where they are.
        look: returns what is known of one.
        keeping: whose results they are.
    """

    def __init__(
        self, transport: Transport, look: Callable[[CallKey], Awaitable[Sighting | None]], keeping: Keeping
    ) -> None:
        self._transport = transport
        self._look = look
        self._keeping = keeping

    async def cancel(self, key: CallKey) -> bool:
        """End a call as CANCELLED; return False if it has ended otherwise. Raises ResultMissing."""
        sighting = await self._look(key)
        if sighting is None:
            raise ResultMissing(f"Call {key.id!r} cannot be cancelled: nobody knows the id, or it has ended.")
        while sighting is not None and sighting.record is None:
            outcome = cancellation_of(_message_of(key.id, sighting), self._keeping, self._transport.now_ms())
            if await self._transport.withdraw(key.id, sighting.queue, outcome, even_running=True):
                return True
            sighting = await self._look(key)  # it has ended meanwhile
        return sighting is not None and decode_record(sighting.record or b"").status is Status.CANCELLED


def _message_of(id: str, sighting: Sighting) -> Message:
    """Return the message of a call; of one whose bytes are none, what has to be known of it."""
    try:
        return decode_message(sighting.body or b"")
    except DecodeError:
        return Message(v=PROTOCOL_VERSION, id=id, task="", queue=sighting.queue)
