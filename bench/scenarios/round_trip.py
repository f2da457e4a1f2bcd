"""How long from a call to its result, with the worker in another process."""

from bench.figures import percentile
from bench.lineup import Peer
from bench.scenarios.scenario import MILLISECONDS, Column, Sample, Scenario
from bench.stage import START_UP, SampleFailed, Stage


async def idle(stage: Stage, peer: Peer) -> Sample:
    """One call at a time, nothing else going on."""
    scale = stage.scale
    run = await stage.run(peer)
    async with run.worker(start_up=START_UP):
        order = {"count": scale.calls, "seconds": scale.call_seconds, "warm_up": scale.call_warm_up}
        answer = await run.ask("calls", **order)
    return {**_latency(answer["latencies"]), "calls": len(answer["latencies"]), "lost": answer["lost"]}


async def callers(stage: Stage, peer: Peer) -> Sample:
    """Fifty callers, each one call at a time."""
    run = await stage.run(peer)
    async with run.worker(start_up=START_UP):
        before = await run.server.counters()
        answer = await run.ask("callers", callers=stage.scale.callers, seconds=stage.scale.caller_seconds)
        spent = await run.server.counters() - before
    return {
        "rate": len(answer["latencies"]) / stage.scale.caller_seconds,
        **_latency(answer["latencies"]),
        "lost": answer["lost"],
        "commands": spent.commands / answer["sent"],
        "reads": spent.reads / answer["sent"],
    }


def _latency(latencies: list[float]) -> Sample:
    if not latencies:
        raise SampleFailed("not one call came back")
    return {
        "p50": percentile(latencies, 50) * MILLISECONDS,
        "p99": percentile(latencies, 99) * MILLISECONDS,
    }


P50 = Column("p50", "p50 ms", 2, is_less_better=True)
P99 = Column("p99", "p99 ms", 2, is_less_better=True)
CALLS = Column("calls", "calls")
LOST = Column("lost", "lost", is_less_better=True)
PEERS = ("asyncq", "taskiq", "saq", "streaq", "arq", "arq-10ms", "floor")

SCENARIOS = (
    Scenario("round-trip", "Round trip, idle", (P50, P99, CALLS, LOST), PEERS, idle),
    Scenario(
        "callers",
        "Round trip, 50 concurrent callers",
        (
            Column("rate", "requests/s"),
            P50,
            P99,
            LOST,
            Column("commands", "commands/call", 1, is_less_better=True),
            Column("reads", "reads/call", 2, is_less_better=True),
        ),
        PEERS,
        callers,
    ),
)
