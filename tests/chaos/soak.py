"""`make soak`: ten minutes at half of the peak, in which nothing may grow and nothing is warned of.

What a process needs follows how many calls are going, and that number follows what else the machine does. So it has a
bound, which is reached at the peak already; at the bound the load gives way, and what is left of it is judged, too.
"""

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, NamedTuple

from redis.asyncio import Redis

from tests.chaos.crew import ROOT
from tests.servers import RedisServer

PEAK_SECONDS = 15.0
SETTLING = 0.2
"""Part of the time in which things may still grow."""

EVERY = 1.0
MOST_SLOPE = 0.5
"""Percent a minute that a process may grow."""

MOST_KEYS = 1.02
"""How many times as many keys there may be in the last quarter as in the first."""

LEAST_LOAD = 0.8
"""Part of half of the peak that has to be left when the machine is busy: with less, little shows."""


class Sample(NamedTuple):
    """What was measured at one moment: bytes of the two processes, and keys and bytes of the server."""

    at: float
    worker: int
    producer: int
    keys: int
    server: int = 0


async def main() -> None:
    """Measure the peak, load at half of it, and judge."""
    parser = argparse.ArgumentParser(prog="make soak ARGS=", description="Run for long, and see what grows.")
    parser.add_argument("--seconds", type=float, default=600)
    seconds = parser.parse_args().seconds
    with tempfile.TemporaryDirectory() as name, RedisServer(Path(name, "redis")) as server:
        log = Path(name, "worker.log")
        with log.open("wb") as output:
            worker = await start("asyncq", "worker", "tests.chaos.soak_app:broker", url=server.url, output=output)
            try:
                peak, samples, rate = await soaked(server.url, worker.pid, seconds)
            finally:
                worker.terminate()
                await worker.wait()
        warnings = [line for line in log.read_text().splitlines() if any(word in line for word in LOUD)]
    wrong = judge(samples, warnings, load=rate / (peak / 2))
    print(f"make soak ARGS='--seconds {seconds:g}': peak {peak:,.0f} calls/s, then {rate:,.0f} calls/s\n")
    print("\n".join(table(samples, len(warnings))))
    print("\n".join(["", *wrong, *warnings[:20]]))
    sys.exit(1 if wrong else 0)


LOUD = ("WARNING", "ERROR", "CRITICAL", "Traceback")


async def start(*arguments: str, url: str, output: int | IO[bytes]) -> asyncio.subprocess.Process:
    """Start a Python program."""
    variables = {**os.environ, "SOAK_URL": url, "PYTHONPATH": str(ROOT)}
    errors = None if output == asyncio.subprocess.PIPE else output
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", *arguments), cwd=ROOT, env=variables, stdout=output, stderr=errors
    )


async def soaked(url: str, worker: int, seconds: float) -> tuple[float, Sequence[Sample], float]:
    """Load for so long; return the peak, what was measured after it, and the rate of that."""
    arguments = ("tests.chaos.soak_producer", str(PEAK_SECONDS), str(seconds))
    producer = await start(*arguments, url=url, output=asyncio.subprocess.PIPE)
    assert producer.stdout
    peak = float(await producer.stdout.readline())
    finishing = asyncio.create_task(producer.stdout.readline())
    begin = time.monotonic()
    samples: list[Sample] = []
    async with Redis.from_url(url) as redis:
        while not finishing.done() and (at := time.monotonic() - begin) < seconds:
            used = (await redis.info("memory"))["used_memory"]
            samples.append(Sample(at, resident(worker), resident(producer.pid), await redis.dbsize(), used))
            await asyncio.wait([finishing], timeout=EVERY)
    rate = float(await finishing)
    await producer.wait()
    return peak, samples, rate


def resident(pid: int) -> int:
    """Return the memory that a process has, in bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def settled(samples: Sequence[Sample]) -> Sequence[Sample]:
    """Return those that count."""
    return [sample for sample in samples if sample.at >= SETTLING * samples[-1].at]


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Return by how many percent of their mean the points rise in a minute, by the line of least squares."""
    count = len(points)
    middle, mean = sum(x for x, _ in points) / count, sum(y for _, y in points) / count
    spread = sum((x - middle) ** 2 for x, _ in points)
    return 60 * 100 * sum((x - middle) * (y - mean) for x, y in points) / spread / mean


def keys_grown(samples: Sequence[Sample]) -> float:
    """Return how many times as many keys there were in the last quarter as in the first."""
    keys = [sample.keys for sample in settled(samples)]
    quarter = len(keys) // 4
    return sum(keys[-quarter:]) / sum(keys[:quarter])


def judge(samples: Sequence[Sample], warnings: Sequence[str], load: float = 1) -> list[str]:
    """Return what is over its bound; `load` is what was left of the load."""
    counted = settled(samples)
    rises = {
        "worker": slope([(sample.at, sample.worker) for sample in counted]),
        "producer": slope([(sample.at, sample.producer) for sample in counted]),
    }
    wrong = [f"The {name} grows by {rise:.2f} % a minute." for name, rise in rises.items() if rise > MOST_SLOPE]
    if keys_grown(samples) > MOST_KEYS:
        wrong.append(f"There are {keys_grown(samples):.2f} times as many keys in the end.")
    if load < LEAST_LOAD:
        wrong.append(
            f"Only {100 * load:.0f} % of the load could be had: the machine was too busy for this to say anything."
        )
    if warnings:
        wrong.append(f"The worker's log has {len(warnings)} lines that are louder than information.")
    return wrong


def table(samples: Sequence[Sample], warnings: int) -> list[str]:
    """Return the numbers, in Markdown."""
    counted = settled(samples)
    rows = ["|  | begin | end | rise in a minute |", "|---|--:|--:|--:|"]
    for name, values in (
        ("worker, MB", [(sample.at, sample.worker / 1e6) for sample in counted]),
        ("producer, MB", [(sample.at, sample.producer / 1e6) for sample in counted]),
        ("keys", [(sample.at, float(sample.keys)) for sample in counted]),
        ("server, MB", [(sample.at, sample.server / 1e6) for sample in counted]),
    ):
        rows.append(f"| {name} | {values[0][1]:,.1f} | {values[-1][1]:,.1f} | {slope(values):+.2f} % |")
    return [*rows, f"| warnings | | {warnings} | |"]


if __name__ == "__main__":
    asyncio.run(main())
