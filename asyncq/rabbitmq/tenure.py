"""The tenure: a lease in the ledger, whose reclaimer has what it has found published again."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress

from asyncq.rabbitmq.placing import Placing
from asyncq.transport import Lease


class PlacingLease(Lease):
    """A consumer's lease.

    Args:
        lease: in the ledger.
        placing: of the loop on which this is made.
        lost: called on the lease's thread when it is.
    """

    def __init__(self, lease: Lease, placing: Placing, lost: Callable[[], None]) -> None:
        self._lease = lease
        self._placing = placing
        self._lost = lost
        self._loop = asyncio.get_running_loop()

    def renew(self, about: bytes | None = None) -> bool:
        is_member = self._lease.renew(about)
        if not is_member:
            self._lost()
        return is_member

    def next_end(self) -> float | None:
        return self._lease.next_end()

    def reclaim(self) -> Mapping[str, int]:
        reclaimed = self._lease.reclaim()
        if reclaimed:
            with suppress(RuntimeError):  # the loop was closed; somebody else will look for what is left
                self._loop.call_soon_threadsafe(self._placing.wake)
        return reclaimed

    def close(self) -> None:
        self._lease.close()
