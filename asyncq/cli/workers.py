"""`asyncq workers`: who works, and whether they do."""

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import click

from asyncq.broker.inspection import WorkerInfo
from asyncq.cli.asking import Unanswered, ask, load, on_app
from asyncq.cli.options import DurationType
from asyncq.cli.texts import facts_of, print_object, print_table, span

HEADERS = ("NAME", "HOST", "PID", "UP", "RUNNING", "DEAD", "LAST FETCH", "LEASE", "QUEUES")


@click.command()
@on_app
@click.argument("names", metavar="[NAME|HOST]...", nargs=-1)
@click.option(
    "--check", is_flag=True, help="Exit with 1 unless there is such a worker, and all such workers are healthy."
)
@click.option(
    "--within",
    type=DurationType(),
    default="60",
    show_default="60s",
    help="For --check: the last fetch was answered within this time, or no slot is free to fetch for.",
)
def workers(app: str, app_dir: Path, as_json: bool, names: Sequence[str], check: bool, within: float) -> None:
    """List the workers of APP, wherever they run; or only those of a NAME, or on a HOST.

    LAST FETCH is the time since the server last answered a worker that asked for work; LEASE what is left of its lease.
    """
    found = ask(load(app, app_dir), lambda broker: broker.workers())
    chosen = [worker for worker in found if not names or worker.host in names or _is_named(worker, names)]
    if as_json:
        for worker in chosen:
            print_object(facts_of(worker) | {"is_healthy": worker.is_healthy(within)})
    elif chosen:
        print_table(HEADERS, [_row(worker) for worker in chosen], right=HEADERS[2:8])
    elif not check:
        click.echo("No workers.")
    if check:
        _check(chosen, names, within)


def _check(chosen: Sequence[WorkerInfo], names: Sequence[str], within: float) -> None:
    """End with 1 unless somebody is there and all are healthy. Whose lease is over is dead, and not here any more."""
    living = [worker for worker in chosen if worker.lease_left > 0]
    if not living:
        raise Unanswered(
            "No worker is alive" + (f" of the name or on the host {' or '.join(names)}." if names else ".")
        )
    ill = [worker.name for worker in living if not worker.is_healthy(within)]
    if ill:
        raise Unanswered(f"Not answered within {within:g} s: {', '.join(ill)}.")
    sys.exit(0)


def _is_named(worker: WorkerInfo, names: Sequence[str]) -> bool:
    """Tell whether it bears one of these names, or goes on under it with a number: `name.1`, `name.2`."""
    base, _, number = worker.name.rpartition(".")
    return worker.name in names or (number.isdecimal() and base in names)


def _row(worker: WorkerInfo) -> Sequence[str]:
    up = None if worker.started_at is None else (datetime.now(UTC) - worker.started_at).total_seconds()
    return (
        worker.name,
        worker.host or "-",
        str(worker.pid or "-"),
        span(up),
        f"{worker.running:,}/{worker.slots:,}",
        f"{worker.dead:,}",
        "full" if worker.is_full else span(worker.silence),
        span(worker.lease_left) if worker.lease_left > 0 else "over",
        ", ".join(sorted(worker.queues)),
    )
