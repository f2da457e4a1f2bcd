"""The one command: `python -m bench`; `--help` lists its options."""

import asyncio
import re
import signal
import sys
from argparse import ArgumentParser, Namespace
from dataclasses import replace
from pathlib import Path
from typing import get_args

from bench.driver import measure
from bench.lineup import FOLDER, PEERS, ROOT, Broker
from bench.report import report
from bench.results import Results
from bench.scale import QUICK, Scale
from bench.scenarios import SCENARIOS

DOCUMENT = ROOT / "docs" / "benchmarks.md"


def main() -> None:
    """Measure, or read what was measured before; print, and keep it."""
    arguments = _arguments()
    if arguments.read:
        results = Results.load(arguments.read)
    else:
        results = _measured(arguments)
        path = FOLDER / "results" / f"{results.about['date'][:10]}-{results.about['commit']}.json"
        results.save(path)
        print(f"\nSaved in {path.relative_to(ROOT)}.")
    print(f"\n{report(results)}")
    if arguments.write_docs:
        write_docs(results)


def write_docs(results: Results) -> None:
    """Put the figures of each broker of which all scenarios were measured between its marks in docs/benchmarks.md."""
    whole = [broker for broker in get_args(Broker) if results.has_all_of(broker)]
    if not whole:
        sys.exit("bench: nothing written: there is no broker of which all scenarios were measured")
    text = DOCUMENT.read_text()
    for broker in whole:
        begin, end = f"<!-- {broker}: begin -->", f"<!-- {broker}: end -->"
        section = f"{begin}\n\n{report(results.of(broker))}\n\n{end}"
        text = re.sub(
            f"{re.escape(begin)}.*{re.escape(end)}", lambda _, section=section: section, text, flags=re.DOTALL
        )
    DOCUMENT.write_text(text)
    print(f"\nWritten into {DOCUMENT.relative_to(ROOT)}: {', '.join(whole)}.")


def _measured(arguments: Namespace) -> Results:
    scale = QUICK if arguments.quick else Scale()
    if arguments.rounds:
        scale = replace(scale, rounds=arguments.rounds)
    scenarios = [SCENARIOS[name] for name in arguments.scenario or SCENARIOS]
    if arguments.broker:
        scenarios = [scenario for scenario in scenarios if scenario.broker in arguments.broker]

    async def run() -> Results:
        # SIGTERM ends the run as Ctrl-C does: servers and workers go with it.
        task = asyncio.current_task()
        assert task is not None
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        return await measure(scenarios, arguments.peer or PEERS, scale)

    try:
        return asyncio.run(run())
    except (KeyboardInterrupt, asyncio.CancelledError):
        sys.exit("bench: stopped")


def _arguments() -> Namespace:
    parser = ArgumentParser(prog="python -m bench", description="Measure asyncq beside its peers and the floor.")
    brokers = get_args(Broker)
    parser.add_argument("--broker", action="append", choices=brokers, metavar="NAME", help=", ".join(brokers))
    parser.add_argument("--scenario", action="append", choices=SCENARIOS, metavar="NAME", help=", ".join(SCENARIOS))
    parser.add_argument("--peer", action="append", choices=PEERS, metavar="NAME", help=", ".join(PEERS))
    parser.add_argument("--rounds", type=int, metavar="N", help="samples of each; their medians are told (3)")
    parser.add_argument("--quick", action="store_true", help="fewer tasks, one round: to see that all works")
    parser.add_argument("--read", type=Path, metavar="FILE", help="measure nothing, report a saved run")
    parser.add_argument(
        "--write-docs", action="store_true", help=f"put it into {DOCUMENT.relative_to(ROOT)}, broker by broker"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
