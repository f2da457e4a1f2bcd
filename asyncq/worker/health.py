"""The health of a worker: what it tells of itself with each renewal, and whether it could fetch of late."""

import os
import socket
import time

from asyncq.broker.inspection import Vitals, encode_vitals
from asyncq.transport import Consumer
from asyncq.worker.conclusion import Conclusions
from asyncq.worker.receiver import Receiver
from asyncq.worker.slots import Slots


class Health:
    """What one consumer shows of itself. Asked from the heartbeat's thread too: it only reads.

    A loop that is blocked fetches nothing and shows it, since its last answer grows old.

    Args:
        consumer: the server's answers to it count.
        slots: of the worker.
        started_ms: when the consumer joined, by the server's clock.
        lease: seconds.
    """

    def __init__(self, consumer: Consumer, slots: Slots, *, started_ms: int, lease: float) -> None:
        self._consumer = consumer
        self._slots = slots
        self._started_ms = started_ms
        self._lease_ms = round(lease * 1000)
        self._receiver: Receiver | None = None
        self._conclusions: Conclusions | None = None

    def attach(self, receiver: Receiver, conclusions: Conclusions) -> None:
        """Ask these as well, from now on."""
        self._receiver = receiver
        self._conclusions = conclusions

    @property
    def is_full(self) -> bool:
        """Whether no slot is free to fetch for."""
        return self._receiver is not None and self._receiver.is_full

    @property
    def silence(self) -> float:
        """Seconds since the server last answered a fetch, or since there was a slot free again to fetch for."""
        asking_since = self._receiver.asking_since if self._receiver is not None else 0.0
        return max(0.0, time.monotonic() - max(self._consumer.answered_at, asking_since))

    @property
    def dead(self) -> int:
        """How many calls went to the dead letters."""
        return self._conclusions.dead if self._conclusions is not None else 0

    def is_good(self, within: float) -> bool:
        """Tell whether the last fetch was answered within so many seconds, or no slot is free to fetch for."""
        return self.is_full or self.silence <= within

    def vitals(self) -> bytes:
        """Return what the worker tells of itself."""
        return encode_vitals(
            Vitals(
                host=socket.gethostname(),
                pid=os.getpid(),
                started_ms=self._started_ms,
                lease_ms=self._lease_ms,
                slots=self._slots.total,
                running=self._slots.used,
                dead=self.dead,
                silence_ms=round(self.silence * 1000),
                is_full=self.is_full,
            )
        )
