"""Schedulers that are killed, and an audit of what they have published."""

import asyncio
import os
import random
import sys
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from asyncq import Broker, BrokerUnavailable, ScheduleInfo
from asyncq.transport import Consumer, Delivery, Done, Outcome
from tests.cli.programs import ROOT

PROGRAM = """
import asyncio
import sys
import time
from datetime import datetime

from asyncq import Cron, Every, Scheduler, broker_from_url

url, namespace, schedule, began, speed, origin = sys.argv[1:]
broker = broker_from_url(url, namespace=namespace)


@broker.task(name="tick", schedule=eval(schedule))
async def tick() -> None: ...


class FastClock:
    def now_ms(self) -> int:
        return int(float(origin) + (time.time() * 1000 - float(began)) * float(speed))


asyncio.run(Scheduler(broker, clock=FastClock() if float(speed) else None).run())
"""
"""A scheduler whose clock runs `speed` times as fast as the machine's, from `origin` on; 0: the server's clock."""


class Crew:
    """Five schedulers in processes of their own, which are killed now and then.

    Args:
        folder: where their program is written.
        arguments: of the program.
    """

    SIZE = 5

    def __init__(self, folder: Path, *arguments: str) -> None:
        self._path = folder / "scheduler_program.py"
        self._path.write_text(PROGRAM)
        self._arguments = arguments
        self._processes: list[asyncio.subprocess.Process] = []
        self.kills = 0

    @asynccontextmanager
    async def at_work(self, pause: float) -> AsyncIterator[None]:
        """Let them work during the block; one of them is killed, and replaced, after each pause."""
        for _ in range(self.SIZE):
            await self._start()
        killing = asyncio.create_task(self._kill(pause))
        try:
            yield
        finally:
            killing.cancel()
            with suppress(asyncio.CancelledError):
                await killing
            for process in self._processes:
                process.kill()
                await process.wait()

    async def _kill(self, pause: float) -> None:
        while True:
            await asyncio.sleep(pause)  # the pace of the kills is what is tested
            process = self._processes.pop(random.randrange(len(self._processes)))
            process.kill()
            await process.wait()
            self.kills += 1
            await self._start()

    async def _start(self) -> None:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
        arguments = (sys.executable, str(self._path), *self._arguments)
        self._processes.append(await asyncio.create_subprocess_exec(*arguments, env=environment))


class Auditor:
    """Ends each call that is published, keeps no result, so that no id stays taken, and counts.

    Attributes:
        runs: how often each tick, by its ms, was run.
    """

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self.runs: Counter[int] = Counter()

    async def run(self) -> None:
        """Audit until cancelled."""
        consumer: Consumer | None = None
        while True:
            try:
                if consumer is None:
                    transport = (await self._broker.open()).transport
                    consumer = await transport.consumer("auditor", ["default"], lease=600)
                await self._end(consumer, await consumer.fetch({"default": 500}, 500, suspects=500))
            except BrokerUnavailable:
                await asyncio.sleep(0.05)  # the server is away

    async def schedule(self) -> ScheduleInfo | None:
        """Return the schedule, as it stands; None: it cannot be asked for."""
        with suppress(BrokerUnavailable):
            return await self._broker.schedules.get("tick")
        return None

    async def _end(self, consumer: Consumer, deliveries: Sequence[Delivery]) -> None:
        is_repeat = False
        while deliveries:
            try:
                effects = await consumer.settle([Done(delivery, Outcome(None)) for delivery in deliveries])
            except BrokerUnavailable:
                is_repeat = True  # the first sending may have taken effect
                continue
            ended = [each for each, effect in zip(deliveries, effects, strict=True) if effect or is_repeat]
            self.runs.update(int(each.id.rpartition("@")[2]) for each in ended)
            return


def ms(*when: int) -> int:
    """Return the milliseconds of a moment in UTC."""
    return int(datetime(*when, tzinfo=UTC).timestamp() * 1000)  # pyright: ignore[reportArgumentType, reportCallIssue] - year, month, day and what follows
