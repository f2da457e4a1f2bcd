"""Rescheduling: how a call that waits gets another time."""

from collections.abc import Awaitable, Callable

from asyncq.errors import NotSupported, ResultMissing
from asyncq.message import amended
from asyncq.store import CallKey, Place, Sighting
from asyncq.tasks.calls import message_of
from asyncq.transport import Transport


class Rescheduling:
    """Gives calls another time: body and time change in one step, and only where the body is the one that was read.

    Args:
        transport: where they are.
        look: returns what is known of one.
    """

    def __init__(self, transport: Transport, look: Callable[[CallKey], Awaitable[Sighting | None]]) -> None:
        self._transport = transport
        self._look = look

    async def reschedule(self, key: CallKey, due_ms: int) -> bool:
        """Let a call be due then; return False where it runs, or has ended. Raises ResultMissing."""
        if not self._transport.capabilities.reschedules:
            raise NotSupported("reschedule(): this broker cannot give a call another time once it is on its way.")
        while (sighting := await self._look(key)) is not None:
            if sighting.body is None or sighting.place is Place.RUNNING:
                return False
            body, expires_ms = _moved(sighting, due_ms, self._transport.now_ms())
            if await self._transport.reschedule(
                key.id, sighting.queue, sighting.body, body, due_ms, expires_ms=expires_ms
            ):
                return True
        raise ResultMissing(f"Call {key.id!r} cannot be rescheduled: nobody knows the id, or it has ended.")


def _moved(sighting: Sighting, due_ms: int, now_ms: int) -> tuple[bytes, int]:
    """Return the message with its new time, and its time to expire moved by as much; and that one alone, 0: never."""
    body, message = sighting.body or b"", message_of(sighting)
    if message is None:  # a worker will say what is wrong with it
        return body, 0
    changes = {"due_ms": due_ms}
    if message.expires_ms:
        was_due_ms = max(message.enqueued_ms, message.due_ms)
        changes["expires_ms"] = max(due_ms, now_ms) + max(0, message.expires_ms - was_due_ms)
    return amended(body, **changes), changes.get("expires_ms", 0)
