"""What a client process is asked to do: the same loops around every peer's own calls."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Mapping
from random import Random
from typing import Any

from bench.peers.peer import Peer, Queued

PAYLOAD = "x" * 100
CONCURRENT = 100
CALL_TIMEOUT = 10.0


class Client:
    """Carries out one order; the answer is what goes back to the driver. All times in seconds."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._dues: set[float] = set()

    async def obey(self, order: Mapping[str, Any]) -> Mapping[str, Any]:
        """Do `order["do"]` with the rest of the order as its arguments."""
        arguments = {name: value for name, value in order.items() if name != "do"}
        actions: Mapping[str, Callable[..., Awaitable[Mapping[str, Any]]]] = {
            "sequential": self.sequential,
            "concurrent": self.concurrent,
            "batches": self.batches,
            "fill": self.fill,
            "calls": self.calls,
            "callers": self.callers,
            "schedule": self.schedule,
            "delay": self.delay,
        }
        return await actions[order["do"]](**arguments)

    async def sequential(self, count: int) -> Mapping[str, Any]:
        """Publish one by one."""
        enqueue = self._peer.enqueue
        for _ in range(CONCURRENT):
            await enqueue("noop", PAYLOAD)
        watch = Watch()
        for _ in range(count):
            await enqueue("noop", PAYLOAD)
        return watch.answer(count, warm_up=CONCURRENT)

    async def concurrent(self, count: int) -> Mapping[str, Any]:
        """Publish so many at once as a busy web process would, again and again."""
        await self._gather("noop")
        watch = Watch()
        for _ in range(count // CONCURRENT):
            await self._gather("noop")
        return watch.answer(count, warm_up=CONCURRENT)

    async def batches(self, count: int) -> Mapping[str, Any]:
        """Publish by the library's own batch call."""
        size = self._peer.batch_size
        await self._peer.enqueue_batch("noop", [PAYLOAD] * CONCURRENT)
        watch = Watch()
        for _ in range(count // size):
            await self._peer.enqueue_batch("noop", [PAYLOAD] * size)
        return watch.answer(count // size * size, warm_up=CONCURRENT)

    async def fill(self, count: int, task: Queued = "noop") -> Mapping[str, Any]:
        """Publish exactly `count`, the fastest way there is."""
        watch = Watch()
        if size := self._peer.batch_size:
            for start in range(0, count, size):
                await self._peer.enqueue_batch(task, [PAYLOAD] * min(size, count - start))
        else:
            for _ in range(count // CONCURRENT):
                await self._gather(task)
        return watch.answer(count)

    async def calls(self, count: int, seconds: float, warm_up: int = 0) -> Mapping[str, Any]:
        """Publish and wait for the result, one at a time, `count` times or as often as the time allows."""
        _, lost_before = await self._calls(warm_up, seconds)
        latencies, lost = await self._calls(count, seconds)
        return {"latencies": latencies, "lost": lost_before + lost}

    async def callers(self, callers: int, seconds: float) -> Mapping[str, Any]:
        """Let several callers publish and wait, each one call at a time; count what comes back in so many seconds."""
        warm_up, lost_before = await self._callers(callers, seconds / 4)
        latencies, lost_then = await self._callers(callers, seconds)
        is_in_time = [each for each, ended in latencies if ended <= seconds]
        lost = lost_before + lost_then
        return {"latencies": is_in_time, "lost": lost, "sent": len(warm_up) + len(latencies) + lost}

    async def schedule(self, count: int, lead: float, spread: float, warm_up: int) -> Mapping[str, Any]:
        """Publish `count` tasks that fall due one after another over `spread` seconds, the first in `lead` seconds."""
        for index in range(warm_up):
            await self._peer.call(index)
        first = time.time() + lead
        watch = Watch()
        for start in range(0, count, CONCURRENT):
            indexes = range(start, min(start + CONCURRENT, count))
            await asyncio.gather(*[self._peer.enqueue_at(first + index * spread / count) for index in indexes])
        return {**watch.answer(count), "first_due": first, "spare": first - time.time()}

    async def delay(self, count: int, rate: float, shortest: float, longest: float) -> Mapping[str, Any]:
        """Publish `count` tasks that fall due at random between so many seconds from then.

        So many a second; 0: as a burst, 100 at a time.
        """
        random = Random(count)
        delays = [random.uniform(shortest, longest) for _ in range(count)]
        started = time.time()
        watch = Watch()
        if rate:
            publishing: list[asyncio.Future[object]] = []
            for index, delay in enumerate(delays):
                await asyncio.sleep(max(0, started + index / rate - time.time()))
                publishing.append(asyncio.ensure_future(self._peer.enqueue_at(self._due(delay))))
            await asyncio.gather(*publishing)
        else:
            for start in range(0, count, CONCURRENT):
                lot = delays[start : start + CONCURRENT]
                await asyncio.gather(*[self._peer.enqueue_at(self._due(delay)) for delay in lot])
        return {**watch.answer(count), "started": started}

    def _due(self, delay: float) -> float:
        """Return the time in so many seconds; another one each time, by which a task is known."""
        due = time.time() + delay
        while due in self._dues:
            due = math.nextafter(due, math.inf)
        self._dues.add(due)
        return due

    async def _gather(self, task: Queued) -> None:
        enqueue = self._peer.enqueue
        await asyncio.gather(*[enqueue(task, PAYLOAD) for _ in range(CONCURRENT)])

    async def _calls(self, count: int, seconds: float) -> tuple[list[float], int]:
        latencies: list[float] = []
        lost = 0
        end = time.perf_counter() + seconds
        while len(latencies) + lost < count and time.perf_counter() < end:
            latency = await self._call(len(latencies))
            if latency is None:
                lost += 1
            else:
                latencies.append(latency)
        return latencies, lost

    async def _callers(self, callers: int, seconds: float) -> tuple[list[tuple[float, float]], int]:
        latencies: list[tuple[float, float]] = []
        started = time.perf_counter()

        async def caller() -> int:
            lost = 0
            while (now := time.perf_counter() - started) < seconds:
                latency = await self._call(len(latencies))
                if latency is None:
                    lost += 1
                else:
                    latencies.append((latency, now + latency))
            return lost

        return latencies, sum(await asyncio.gather(*[caller() for _ in range(callers)]))

    async def _call(self, value: int) -> float | None:
        started = time.perf_counter()
        try:
            async with asyncio.timeout(CALL_TIMEOUT):
                answer = await self._peer.call(value)
        except TimeoutError:
            return None
        elapsed = time.perf_counter() - started
        return elapsed if answer == value else None


class Watch:
    """Measures wall time and this process's CPU time from its making."""

    def __init__(self) -> None:
        self._cpu = time.process_time()
        self._started = time.perf_counter()

    def answer(self, count: int, *, warm_up: int = 0) -> Mapping[str, Any]:
        """Return what was measured over `count` operations; `warm_up` went before and was not timed."""
        elapsed = time.perf_counter() - self._started
        return {"count": count, "sent": count + warm_up, "seconds": elapsed, "cpu": time.process_time() - self._cpu}
