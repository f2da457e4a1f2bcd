"""The unique keys, as they are shown."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from asyncq.result import instant
from asyncq.transport import Transport


@dataclass(frozen=True, slots=True)
class UniqueOwner:
    """A unique key that is taken.

    Attributes:
        key: its text: the task's name, a colon, and what tells its calls apart.
        id: of the call that has it.
        queue: of that call.
        taken_at: since when.
        ends_at: when it is given back at the latest; None: when its call has started or ended.
    """

    key: str
    id: str
    queue: str
    taken_at: datetime | None
    ends_at: datetime | None


async def owners_of(transport: Transport, prefix: str, limit: int) -> Sequence[UniqueOwner]:
    """Return the keys that are taken and begin like this."""
    owners = await transport.unique_keys(prefix, limit=limit)
    return [
        UniqueOwner(each.key, each.id, each.queue, instant(each.taken_ms), instant(each.ends_ms)) for each in owners
    ]
