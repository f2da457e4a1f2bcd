"""The inspection: how queues and workers stand, for whoever looks after them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from asyncq.errors import DecodeError
from asyncq.message import decode_message
from asyncq.result import instant
from asyncq.transport import Member, Transport

_Count = Annotated[int, Meta(ge=0)]


@dataclass(frozen=True, slots=True)
class QueueCounts:
    """How a queue stands. What the broker cannot tell is None.

    Attributes:
        queue: its name.
        ready: calls that wait for a worker.
        waiting: calls that wait for a turn, or a slot, of a limit: in its line, which nobody asks for without need.
        scheduled: calls that become due later: delayed ones, and retries.
        running: calls that a worker has.
        dead: dead letters.
        oldest: seconds since the oldest ready call was published or became due; None: nothing is ready, or what is
            does not say.
        workers: how many workers consume it.
    """

    queue: str
    ready: int
    waiting: int
    scheduled: int | None
    running: int | None
    dead: int
    oldest: float | None
    workers: int | None


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """A worker process, as it last told of itself.

    Attributes:
        name: unique for ever; results name it too.
        host, pid: where it runs; empty and 0 while it has not told anything yet.
        queues: what it consumes.
        started_at: when it joined; None: not told yet.
        slots: how many calls it runs at once.
        running: how many it ran when it last told.
        dead: how many calls it has sent to the dead letters.
        silence: seconds since the server last answered it when it asked for work; None: not told yet.
        is_full: it does not ask, because no slot is free.
        lease_left: seconds until it is taken for dead unless it renews its lease; 0 or less: that is due, and its calls
            are about to run elsewhere.
    """

    name: str
    host: str
    pid: int
    queues: Sequence[str]
    started_at: datetime | None
    slots: int
    running: int
    dead: int
    silence: float | None
    is_full: bool
    lease_left: float

    def is_healthy(self, within: float = 60.0) -> bool:
        """Tell whether it lives, and either was answered within so many seconds or has no slot free to ask for."""
        if self.lease_left <= 0 or self.silence is None:
            return False
        return self.is_full or self.silence <= within


class Vitals(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What a worker tells of itself with each renewal of its lease.

    Attributes:
        host, pid: where it runs.
        started_ms: when it joined, by the server's clock.
        lease_ms: length of its lease.
        slots, running, dead: as in `WorkerInfo`.
        silence_ms: time since the server last answered a fetch.
        is_full: it does not ask, because no slot is free.
    """

    host: str
    pid: _Count
    started_ms: _Count
    lease_ms: _Count
    slots: _Count
    running: _Count = 0
    dead: _Count = 0
    silence_ms: _Count = 0
    is_full: bool = False


encode_vitals = msgspec.json.Encoder().encode
_decoder = msgspec.json.Decoder(Vitals)


async def counts_of(transport: Transport, queues: Sequence[str]) -> Sequence[QueueCounts]:
    """Return how these queues stand, in three round trips."""
    able = transport.capabilities
    counts = await transport.counts(queues)
    lines = await transport.first_in_line(queues)
    members = await transport.members()
    now_ms = transport.now_ms()
    return [
        QueueCounts(
            queue,
            ready=each.ready,
            waiting=each.waiting,
            scheduled=each.scheduled if able.counts_running else None,
            running=each.running if able.counts_running else None,
            dead=each.dead,
            oldest=_age(line, now_ms),
            workers=sum(queue in member.queues for member in members) if able.has_memory else None,
        )
        for queue, each, line in zip(queues, counts, lines, strict=True)
    ]


async def workers_of(transport: Transport) -> Sequence[WorkerInfo]:
    """Return the workers, in alphabetical order."""
    members = await transport.members()
    return [_worker(member, transport.now_ms()) for member in members]


def _age(bodies: Sequence[bytes], now_ms: int) -> float | None:
    """Return the seconds since the oldest of these messages was published or became due."""
    since = [since_ms for since_ms in map(_ready_since_ms, bodies) if since_ms]
    return max(0.0, (now_ms - min(since)) / 1000) if since else None


def _ready_since_ms(body: bytes) -> int:
    try:
        message = decode_message(body)
    except DecodeError:
        return 0
    return max(message.enqueued_ms, message.due_ms)


def _worker(member: Member, now_ms: int) -> WorkerInfo:
    name, queues, lease_end_ms, about = member
    left_ms = lease_end_ms - now_ms
    try:
        vitals = _decoder.decode(about)
    except (msgspec.MsgspecError, UnicodeDecodeError):  # nothing told yet, or by a later release
        return WorkerInfo(name, "", 0, queues, None, 0, 0, 0, None, False, left_ms / 1000)
    told_ms = lease_end_ms - vitals.lease_ms
    return WorkerInfo(
        name=name,
        host=vitals.host,
        pid=vitals.pid,
        queues=queues,
        started_at=instant(vitals.started_ms),
        slots=vitals.slots,
        running=vitals.running,
        dead=vitals.dead,
        silence=max(0, vitals.silence_ms + now_ms - told_ms) / 1000 if lease_end_ms else None,
        is_full=vitals.is_full,
        lease_left=left_ms / 1000,
    )
