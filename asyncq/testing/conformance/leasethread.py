"""A lease in a test's hands: on a thread of its own, as a worker has it."""

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from asyncq.transport import Lease

T = TypeVar("T")


class LeaseThread:
    """A lease in the hands of one thread that is not the event loop's."""

    def __init__(self, lease: Lease) -> None:
        self._lease = lease
        self._thread = ThreadPoolExecutor(1)

    async def renew(self, about: bytes | None = None) -> bool:
        """Call `Lease.renew`."""
        return await self._call(partial(self._lease.renew, about))

    async def next_end(self) -> float | None:
        """Call `Lease.next_end`."""
        return await self._call(self._lease.next_end)

    async def reclaim(self) -> Mapping[str, int]:
        """Call `Lease.reclaim`."""
        return await self._call(self._lease.reclaim)

    async def close(self) -> None:
        """Call `Lease.close`, and end the thread."""
        await self._call(self._lease.close)
        self._thread.shutdown()

    async def _call(self, method: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, method)
