"""`asyncq queues`: how the queues stand."""

from pathlib import Path

import click

from asyncq.cli.asking import ask, load, on_app
from asyncq.cli.texts import facts_of, number, print_object, print_table, span

HEADERS = ("QUEUE", "READY", "OLDEST", "WAITING", "SCHEDULED", "RUNNING", "DEAD", "WORKERS")


@click.command()
@on_app
def queues(app: str, app_dir: Path, as_json: bool) -> None:
    """Say how the queues of APP stand: those that it declares, and those that were ever published to.

    OLDEST is the time since the oldest ready call was published or became due; WAITING are those that wait for a
    limit. What the broker cannot tell is `-`.
    """
    broker = load(app, app_dir)
    found = ask(broker, lambda broker: broker.queue_counts())
    if as_json:
        for each in found:
            print_object(facts_of(each))
        return
    rows = [
        (
            each.queue,
            *(number(each.ready), span(each.oldest), number(each.waiting), number(each.scheduled)),
            *(number(each.running), number(each.dead), number(each.workers)),
        )
        for each in found
    ]
    print_table(HEADERS, rows, right=HEADERS[1:])
    if not broker.capabilities.has_memory:
        click.echo(f"{broker.capabilities.without_memory('What stands as - is not known')}", err=True)
