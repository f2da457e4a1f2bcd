"""The bars: what asyncq has to reach in a run, relative to the peers and the floor of the same run."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from bench.lineup import PEERS
from bench.results import Results
from bench.scenarios import SCENARIOS, Scenario

SUBJECT = "asyncq"
EMBEDDED = "asyncq-sqlite"
RABBITMQ, RABBITMQ_STORED, RABBITMQ_CLASSIC = "asyncq-rabbitmq", "asyncq-rabbitmq-store", "asyncq-rabbitmq-classic"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found.

    Attributes:
        found: the figure and what it was compared with, in words.
        is_reached: None where something was not measured.
    """

    found: str
    is_reached: bool | None


UNKNOWN = Verdict("not measured", None)
Judge: TypeAlias = Callable[[Results], Verdict]


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar."""

    row: str
    text: str
    judge: Judge


def rivals(scenario: Scenario) -> Sequence[str]:
    """Return the peers that asyncq is compared with."""
    return [name for name in scenario.peers if PEERS[name].is_rival and name not in scenario.onlookers]


def of_rivals(scenario: str, key: str, factor: float, *, subject: str = SUBJECT) -> Judge:
    """Compare with the best rival: at least `factor` times its rate, or at most `factor` times its time."""

    def judge(results: Results) -> Verdict:
        played = SCENARIOS[scenario]
        best = results.best(played, key, rivals(played))
        return _compared(results, played, key, factor, best, subject, "the best peer")

    return judge


def of_peer(scenario: str, key: str, factor: float, peer: str, *, subject: str = SUBJECT) -> Judge:
    """Compare with one of those measured."""

    def judge(results: Results) -> Verdict:
        other = results.median(scenario, peer, key)
        return _compared(results, SCENARIOS[scenario], key, factor, other, subject, peer)

    return judge


def at_most(scenario: str, key: str, bound: float, *, subject: str = SUBJECT) -> Judge:
    """Compare with a number."""
    return _of_number(scenario, key, lambda found: found <= bound, subject)


def at_least(scenario: str, key: str, bound: float, *, subject: str = SUBJECT) -> Judge:
    """Compare with a number."""
    return _of_number(scenario, key, lambda found: found >= bound, subject)


def _of_number(scenario: str, key: str, is_reached: Callable[[float], bool], subject: str) -> Judge:
    def judge(results: Results) -> Verdict:
        found = results.median(scenario, subject, key)
        if found is None:
            return UNKNOWN
        column = SCENARIOS[scenario].column(key)
        return Verdict(f"{found:,.{column.digits}f} {column.heading}", is_reached(found))

    return judge


def keeps_up(results: Results) -> Verdict:
    """Compare the rate at which due tasks run with that at which they fall due, or can be drained at best."""
    found = results.median("due", SUBJECT, "rate")
    drained = results.median("drain-results", SUBJECT, "rate")
    if found is None or drained is None:
        return UNKNOWN
    possible = min(drained, results.about["scale"]["due"])
    return Verdict(f"{found:,.0f}/s, {found / possible:.2f} of {possible:,.0f}/s", found >= 0.85 * possible)


def _compared(
    results: Results, scenario: Scenario, key: str, factor: float, other: float | None, subject: str, name: str
) -> Verdict:
    found = results.median(scenario.name, subject, key)
    if found is None or other is None:
        return UNKNOWN
    column = scenario.column(key)
    text = f"{found:,.{column.digits}f} {column.heading}, {found / other:.2f}x {name} ({other:,.{column.digits}f})"
    return Verdict(text, found <= factor * other if column.is_less_better else found >= factor * other)


BARS: Sequence[Bar] = (
    Bar("drain, results stored", "8x the fastest peer", of_rivals("drain-results", "rate", 8)),
    Bar("drain, results stored", "0.4 of the floor", of_peer("drain-results", "rate", 0.4, "floor")),
    Bar("drain, no results", "3x the fastest peer", of_rivals("drain-plain", "rate", 3)),
    Bar("drain of 10 ms naps", "5x the fastest peer that stores results", of_rivals("drain-naps", "rate", 5)),
    Bar("enqueue, one by one", "0.85 of a raw XADD", of_peer("enqueue-sequential", "rate", 0.85, "redis-py")),
    Bar("enqueue, one by one", "ahead of every peer", of_rivals("enqueue-sequential", "rate", 1)),
    Bar("enqueue, 100 concurrent", "3x the fastest peer", of_rivals("enqueue-concurrent", "rate", 3)),
    Bar("kiq_many", "4x the fastest batch call", of_rivals("enqueue-batch", "rate", 4)),
    Bar("round trip, idle", "p50 at most 0.5 of the best", of_rivals("round-trip", "p50", 0.5)),
    Bar("round trip, idle", "p99 at most 0.75 of the best", of_rivals("round-trip", "p99", 0.75)),
    Bar("round trip, 50 callers", "5x the fastest peer", of_rivals("callers", "rate", 5)),
    Bar("due within one second", "0.85 of what falls due or can be drained", keeps_up),
    Bar("due within one second", "with room, p99 under 20 ms", at_most("due-with-room", "p99", 20)),
    Bar("idle worker", "1 command/s", at_most("idle", "commands", 1)),
    Bar("idle worker", "0.03 s CPU in 20 s", at_most("idle", "cpu", 0.03)),
    Bar("idle worker", "60 MB", at_most("idle", "memory", 60)),
    Bar("memory of a queued task", "350 bytes", at_most("memory", "bytes", 350)),
    Bar("round trips under load", "0.1 a task", at_most("drain-results", "reads", 0.1)),
    Bar("backlog behind", "drain at 0.85", at_least("backlog", "drain", 0.85)),
    Bar("backlog behind", "enqueue at 0.85", at_least("backlog", "enqueue", 0.85)),
    Bar("limits", "drain at 0.5 of that without", at_least("limits", "rate_limit", 0.5)),
    Bar("limits", "drain at 0.5 of that without (slots)", at_least("limits", "concurrency", 0.5)),
    Bar("SQLite, drain", "4x huey", of_rivals("sqlite-drain", "rate", 4, subject=EMBEDDED)),
    Bar("SQLite, round trip", "p50 under 5 ms", at_most("sqlite-round-trip", "p50", 5, subject=EMBEDDED)),
    Bar(
        "SQLite, limits", "drain at 0.5 of that without", at_least("sqlite-limits", "rate_limit", 0.5, subject=EMBEDDED)
    ),
    Bar(
        "SQLite, limits",
        "drain at 0.5 of that without (slots)",
        at_least("sqlite-limits", "concurrency", 0.5, subject=EMBEDDED),
    ),
    Bar("SQLite, idle", "0.5 % CPU", at_most("sqlite-idle", "cpu", 0.5, subject=EMBEDDED)),
    Bar("RabbitMQ, drain", "2x the faster peer", of_rivals("rabbitmq-drain", "rate", 2, subject=RABBITMQ)),
    Bar("RabbitMQ, drain", "0.5 of raw aiormq", of_peer("rabbitmq-drain", "rate", 0.5, "aiormq", subject=RABBITMQ)),
    Bar(
        "RabbitMQ, drain, results in Redis",
        "2.5x the faster peer",
        of_rivals("rabbitmq-drain-results", "rate", 2.5, subject=RABBITMQ_STORED),
    ),
    Bar(
        "RabbitMQ, enqueue, 100 concurrent",
        "0.8 of raw aiormq",
        of_peer("rabbitmq-concurrent", "rate", 0.8, "aiormq", subject=RABBITMQ),
    ),
    Bar(
        "RabbitMQ, round trip, idle",
        "p50 no worse than dramatiq's",
        of_peer("rabbitmq-round-trip", "p50", 1, "dramatiq", subject=RABBITMQ),
    ),
    Bar(
        "RabbitMQ, round trip, idle",
        "p50 no worse than dramatiq's, on a classic queue as it has",
        of_peer("rabbitmq-round-trip", "p50", 1, "dramatiq", subject=RABBITMQ_CLASSIC),
    ),
    Bar("RabbitMQ, delays", "p99 under 100 ms", at_most("rabbitmq-delays", "p99", 100, subject=RABBITMQ)),
    Bar("RabbitMQ, delays", "nothing lost", at_most("rabbitmq-delays", "lost", 0, subject=RABBITMQ)),
    Bar("RabbitMQ, burst of delays", "p99 under 100 ms", at_most("rabbitmq-burst", "p99", 100, subject=RABBITMQ)),
    Bar("RabbitMQ, burst of delays", "nothing lost", at_most("rabbitmq-burst", "lost", 0, subject=RABBITMQ)),
)
