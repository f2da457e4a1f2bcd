"""`asyncq unique`: the keys that calls have to themselves, listed and cleared."""

from collections.abc import Sequence
from pathlib import Path

import click

from asyncq.broker import Broker
from asyncq.cli.asking import Unanswered, ask, load, on_app
from asyncq.cli.texts import facts_of, moment, print_object, print_table

HEADERS = ("KEY", "TAKEN", "ENDS", "QUEUE", "ID")


@click.group()
def unique() -> None:
    """Look after unique keys, each of which one call has to itself."""


@unique.command("list")
@on_app
@click.argument("prefix", default="")
@click.option(
    "--limit", type=click.IntRange(min=1), metavar="N", default=100, show_default=True, help="At most so many."
)
def list_keys(app: str, app_dir: Path, as_json: bool, prefix: str, limit: int) -> None:
    """List the unique keys of APP that are taken, or those that begin with PREFIX: a task's begin with its name.

    ENDS is when a key is given back at the latest; `-`: when its call has started or ended.
    """
    owners = ask(load(app, app_dir), lambda broker: broker.unique_keys(prefix, limit=limit + 1))
    shown = owners[:limit]
    if as_json:
        for owner in shown:
            print_object(facts_of(owner))
        return
    if not owners:
        click.echo("No unique keys.")
        return
    rows = [(each.key, moment(each.taken_at), moment(each.ends_at), each.queue, each.id) for each in shown]
    print_table(HEADERS, rows)
    if len(owners) > limit:
        click.echo(f"There are more than {limit:,}; --limit shows more.", err=True)


@unique.command()
@on_app
@click.argument("keys", metavar="KEY...", nargs=-1, required=True)
def clear(app: str, app_dir: Path, as_json: bool, keys: Sequence[str]) -> None:
    """Give back each KEY, so that its next call is published. The call that has it stays as it is, and runs."""

    async def clear_all(broker: Broker) -> dict[str, bool]:
        return {key: await broker.clear_unique(key) for key in keys}

    cleared = ask(load(app, app_dir), clear_all)
    for key, was_taken in cleared.items():
        if as_json:
            print_object({"key": key, "cleared": was_taken})
        elif was_taken:
            click.echo(f"{key}: cleared.")
        else:
            click.echo(f"{key}: nobody has it.", err=True)
    if not all(cleared.values()):
        raise Unanswered(f"{list(cleared.values()).count(False)} of {len(cleared)} keys were nobody's.")
