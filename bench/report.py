"""Tables: Markdown that reads well in a terminal too."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bench.bars import BARS, SUBJECT, rivals
from bench.figures import median
from bench.lineup import PEERS
from bench.results import Results
from bench.scale import Scale
from bench.scenarios import SCENARIOS, Column, Scenario


def report(results: Results) -> str:
    """Return all that a run has to say."""
    parts = [_about(results)]
    parts += [_table_of(results, scenario) for scenario in SCENARIOS.values() if _was_played(results, scenario)]
    parts.append(_bars(results))
    parts += list(_failures(results))
    return "\n\n".join(parts)


def _about(results: Results) -> str:
    about = results.about
    machine = about["machine"]
    scale = Scale(**about["scale"])
    size = "" if scale == Scale(rounds=scale.rounds) else "A small run, good for nothing but to see that all works. "
    return (
        f"{size}Measured {about['date']} at commit {about['commit']}: medians of {scale.rounds} interleaved round(s).\n"
        f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gb']} GB; {machine['system']}; "
        f"Python {machine['python']}, {_servers(about)}; load before the run {machine['load']:.1f}.\n"
        f"Versions: {'; '.join(about['versions'])}."
    )


def _servers(about: Mapping[str, Any]) -> str:
    redis = f"Redis {about['redis']}"
    return f"{redis}, RabbitMQ {about['rabbitmq']}" if "rabbitmq" in about else redis


def _was_played(results: Results, scenario: Scenario) -> bool:
    return scenario.name in results.samples


def _table_of(results: Results, scenario: Scenario) -> str:
    first, *others = scenario.columns
    direction = "less is better" if first.is_less_better else "more is better"
    headings = ["", first.heading, "min..max", "of best peer", "of floor", *[each.heading for each in others]]
    best = results.best(scenario, first.key, rivals(scenario))
    floor = results.best(scenario, first.key, [peer for peer in scenario.peers if PEERS[peer].is_floor])
    rows: list[list[str]] = []
    for peer in scenario.peers:
        figures = results.figures(scenario.name, peer, first.key)
        if not figures:
            continue
        middle = median(figures)
        spread = f"{_number(min(figures), first)}..{_number(max(figures), first)}"
        ratios = [_ratio(middle, best), _ratio(middle, floor)]
        rest = [_number(results.median(scenario.name, peer, each.key), each) for each in others]
        rows.append([peer, _number(middle, first), spread, *ratios, *rest])
    return f"#### {scenario.title}\n\n`{scenario.name}`, {direction}.\n\n{_table(headings, rows)}"


def _bars(results: Results) -> str:
    rows: list[list[str]] = []
    for bar in BARS:
        verdict = bar.judge(results)
        if verdict.is_reached is not None:
            rows.append([bar.row, bar.text, verdict.found, "pass" if verdict.is_reached else "FAIL"])
    if not rows:
        return "No bar of asyncq was measured."
    passed = sum(row[-1] == "pass" for row in rows)
    summary = f"{passed} of {len(rows)} reached."
    return f"#### Bars for {SUBJECT}\n\n{summary}\n\n{_table(['row', 'bar', 'found', ''], rows, is_text=True)}"


def _failures(results: Results) -> Iterator[str]:
    for scenario, peers in results.failures.items():
        for peer, reasons in peers.items():
            yield f"{scenario}, {peer}: {len(reasons)} sample(s) missing: {_last_words(reasons[0])}"


def _last_words(reason: str) -> str:
    """Return the last line that says something; an exception group's ends in a rule."""
    return [line for line in reason.splitlines() if any(map(str.isalnum, line))][-1].strip(" |")


def _number(value: float | None, column: Column) -> str:
    return "" if value is None else f"{value:,.{column.digits}f}"


def _ratio(value: float, other: float | None) -> str:
    return f"{value / other:.2f}x" if other else ""


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]], *, is_text: bool = False) -> str:
    widths = [max(len(line[at]) for line in [headings, *rows]) for at in range(len(headings))]
    marks = ["-" * width if is_text or not at else "-" * max(width - 1, 1) + ":" for at, width in enumerate(widths)]

    def line(cells: Sequence[str]) -> str:
        placed = [
            cell.ljust(width) if is_text or not at else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return "| " + " | ".join(placed) + " |"

    return "\n".join([line(headings), line(marks), *[line(row) for row in rows]])
