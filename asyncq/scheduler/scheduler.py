"""The scheduler: runs the schedules of a broker until it is stopped. It leads nobody, and remembers nothing."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress

from asyncq.broker import Broker
from asyncq.clock import Clock
from asyncq.errors import BrokerUnavailable, ConfigurationError
from asyncq.scheduler.declarer import Declarer
from asyncq.scheduler.ticker import Ticker
from asyncq.store import CallKey
from asyncq.transport import Timetable

logger = logging.getLogger("asyncq.scheduler")

_REWATCH = 1.0
"""Seconds until a watch that has ended is begun again."""


class Scheduler:
    """Runs schedules: `await Scheduler(broker).run()`.

    Any number of them, on any number of machines, publish each tick once: whoever is first moves the schedule on in the
    step that publishes its call. So nobody has to take over from one that dies.

    Args:
        broker: whose schedules: those that its tasks declare, and those that were added.
        lease: seconds after which schedules of the code are removed that no living scheduler declares any more.
        clock: tells when ticks are due; None: the server's.
        fail_fast: raise when the server cannot be reached at the start, instead of trying on.
        on_started: called when the schedules of the code are known, and ticks begin.

    Raises:
        ConfigurationError: a value that makes no sense.
        NotSupported: the broker remembers no schedules.
    """

    def __init__(
        self,
        broker: Broker,
        *,
        lease: float = 15.0,
        clock: Clock | None = None,
        fail_fast: bool = False,
        on_started: Callable[[], None] | None = None,
    ) -> None:
        if not lease > 0:
            raise ConfigurationError(f"lease is a number of seconds, more than 0; got {lease!r}.")
        if not broker.capabilities.has_schedules:
            raise broker.capabilities.without_memory("A scheduler")
        self._broker = broker
        self._clock = clock
        self._fail_fast = fail_fast
        self._stopping = asyncio.Event()
        self._on_started = on_started
        self._declarer = Declarer(broker.declared_schedules, self._timetable, self._now_ms, lease=lease)
        self._ticker = Ticker(self._timetable, self._living, self._now_ms)

    async def run(self) -> None:
        """Open the broker if need be, and publish ticks until stopped; once.

        Raises:
            BrokerUnavailable: the server cannot be reached at the start, with `fail_fast`.
            ConfigurationError: the broker's server or file cannot be used at all.
        """
        was_open = self._broker.is_open()
        try:
            if self._fail_fast:
                await self._broker.open()
            async with asyncio.TaskGroup() as group:
                doers = [group.create_task(doer) for doer in (self._declarer.run(), self._watch(), self._tick())]
                await self._stopping.wait()
                for doer in doers:
                    doer.cancel()
        except ExceptionGroup as error:
            refusal = error.subgroup(ConfigurationError)
            while isinstance(refusal, ExceptionGroup):
                refusal = refusal.exceptions[0]
            raise refusal or error from None
        finally:
            if not was_open:
                await self._broker.close()

    def stop(self) -> None:
        """Make `run` return: what it was about to publish, others do, or the next that starts. On the loop's thread."""
        self._stopping.set()

    async def _tick(self) -> None:
        await self._declarer.declared.wait()
        if self._on_started is not None:
            self._on_started()
        await self._ticker.run()

    async def _watch(self) -> None:
        while True:
            with suppress(BrokerUnavailable):  # the ticker says so
                await (await self._timetable()).watch(self._ticker.look)
            await asyncio.sleep(_REWATCH)

    async def _timetable(self) -> Timetable:
        return (await self._broker.open()).transport.timetable()

    async def _living(self, calls: Sequence[CallKey]) -> Sequence[bool]:
        """Return of each call whether it is known, and has not ended."""
        sightings = await (await self._broker.open()).store.look(calls)
        return [sighting is not None and sighting.record is None for sighting in sightings]

    def _now_ms(self) -> int:
        return self._broker.now_ms() if self._clock is None else self._clock.now_ms()
