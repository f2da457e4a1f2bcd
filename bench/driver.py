"""Takes the samples: scenario by scenario, round by round, peer by peer."""

import asyncio
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from bench import environments, machine
from bench.lineup import PEERS, ROOT, Peer
from bench.rabbitmq import rabbitmq_server
from bench.results import Results
from bench.scale import Scale
from bench.scenarios import Scenario
from bench.servers import RedisServer, redis_server
from bench.stage import Stage

TOLD = frozenset({"aiormq", "asyncq", "redis", "hiredis", "uvloop", "orjson", "msgspec"})


async def measure(scenarios: Sequence[Scenario], names: Iterable[str], scale: Scale) -> Results:
    """Play the scenarios with those peers that take part in them."""
    chosen = set(names)
    playing = [PEERS[name] for name in PEERS if name in chosen and any(name in each.peers for each in scenarios)]
    await environments.make(dict.fromkeys(peer.environment for peer in playing if peer.environment))
    with tempfile.TemporaryDirectory(prefix="asyncq-bench-") as folder:
        async with redis_server() as server:
            results = Results(await _about(server, playing, scale))
            stage = Stage(server, Path(folder), scale)
            for scenario in scenarios:
                if peers := [peer for peer in playing if peer.name in scenario.peers]:
                    async with _furnished(stage, scenario, results) as furnished:
                        await _play(furnished, scenario, peers, results)
    return results


@asynccontextmanager
async def _furnished(stage: Stage, scenario: Scenario, results: Results) -> AsyncIterator[Stage]:
    """Yield the stage with what the scenario needs beside Redis: nobody else is to have it running beside him."""
    if scenario.broker == "rabbitmq":
        async with rabbitmq_server() as rabbitmq:
            results.about["rabbitmq"] = await rabbitmq.version()
            yield replace(stage, rabbitmq=rabbitmq)
    else:
        yield stage


async def _play(stage: Stage, scenario: Scenario, peers: Sequence[Peer], results: Results) -> None:
    for number in range(scenario.rounds or stage.scale.rounds * scenario.times):
        # Every round begins with another peer, so that none always follows the same one.
        shift = number % max(len(peers), 1)
        order = [*peers[shift:], *peers[:shift]]
        if scenario.is_together:
            await asyncio.gather(*[_sample(stage, scenario, peer, results) for peer in order])
        else:
            for peer in order:
                await _sample(stage, scenario, peer, results)


async def _sample(stage: Stage, scenario: Scenario, peer: Peer, results: Results) -> None:
    started = time.monotonic()
    try:
        sample = await scenario.measure(stage, peer)
    except Exception as failure:  # whatever one library does, the others are measured
        results.add_failure(scenario.name, peer.name, f"{type(failure).__name__}: {failure}")
        outcome = f"FAILED: {failure}"
    else:
        results.add(scenario.name, peer.name, sample)
        first = scenario.columns[0]
        outcome = f"{sample[first.key]:,.{first.digits}f} {first.heading}"
    print(f"{scenario.name:<22} {peer.name:<21} {outcome}  ({time.monotonic() - started:.0f} s)", flush=True)


async def _about(server: RedisServer, peers: Iterable[Peer], scale: Scale) -> dict[str, Any]:
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": _commit(),
        "machine": machine.describe(),
        "redis": await server.version(),
        "scale": asdict(scale),
        "versions": await _versions(peers),
    }


async def _versions(peers: Iterable[Peer]) -> list[str]:
    here = [f"{each.name}=={each.version}" for each in distributions() if each.name in TOLD]
    told = {f"here: {' '.join(sorted(here))}": None}
    for environment in dict.fromkeys(peer.environment for peer in peers if peer.environment):
        asked = {requirement.partition("==")[0] for requirement in environment.requirements}
        found = [each for each in await environments.versions(environment) if each.partition("==")[0] in asked]
        told[f"{environment.name}: {' '.join(found)}"] = None
    return list(told)


def _commit() -> str:
    command = ("git", "-C", str(ROOT), "describe", "--always", "--dirty")
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    return found.stdout.strip() or "unknown"
