"""`asyncq queues`: how the queues stand."""

from pathlib import Path

import click

from asyncq.cli.asking import ask, load, on_app
from asyncq.cli.texts import facts_of, print_object, print_table, span

HEADERS = ("QUEUE", "READY", "OLDEST", "SCHEDULED", "RUNNING", "DEAD", "WORKERS")


@click.command()
@on_app
def queues(app: str, app_dir: Path, as_json: bool) -> None:
    """Say how the queues of APP stand: those that it declares, and those that were ever published to.

    OLDEST is the time since the oldest ready call was published or became due.
    """
    found = ask(load(app, app_dir), lambda broker: broker.queue_counts())
    if as_json:
        for each in found:
            print_object(facts_of(each))
        return
    rows = [
        (
            each.queue,
            *(f"{each.ready:,}", span(each.oldest), f"{each.scheduled:,}"),
            *(f"{each.running:,}", f"{each.dead:,}", f"{each.workers:,}"),
        )
        for each in found
    ]
    print_table(HEADERS, rows, right=HEADERS[1:])
