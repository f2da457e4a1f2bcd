"""`asyncq dead`: the calls that failed for good, listed, shown, run again and dropped."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import click

from asyncq.broker import Broker
from asyncq.broker.dead import NO_SUCH_LETTER, Retried
from asyncq.broker.letter import DeadLetter, spoken_type
from asyncq.cli.asking import Unanswered, ask, load, on_app
from asyncq.cli.options import DurationType, QueueNameType
from asyncq.cli.texts import facts_of, moment, plain, print_object, print_table, span

Command = TypeVar("Command", bound=Callable[..., Any])

HEADERS = ("DIED", "ID", "QUEUE", "TASK", "ATTEMPTS", "ERROR")

_FILTERS = (
    click.option("--task", metavar="NAME", help="Of this task."),
    click.option("--error", metavar="TEXT", help="With this in the class or text of the error, or in the reason."),
    click.option("--queue", type=QueueNameType(), help="Of this queue."),
    click.option("--older-than", type=DurationType(), help="That died longer ago: 90s, 15m, 2h, 3d."),
    click.option("--newer-than", type=DurationType(), help="That died since then: 90s, 15m, 2h, 3d."),
)


def with_filters(command: Command) -> Command:
    """Give a command the options that say which letters are meant."""
    for option in reversed(_FILTERS):
        command = option(command)
    return command


@dataclass(frozen=True, slots=True)
class Choice:
    """Which letters a command is about; as `DeadLetters.retry` takes them."""

    ids: Sequence[str]
    filters: dict[str, Any]
    everything: bool

    @classmethod
    def of(cls, ids: Sequence[str], everything: bool, filters: dict[str, Any]) -> "Choice":
        """Return what the command line says, or end the command when it does not say which."""
        given = {name: value for name, value in filters.items() if value is not None}
        if [bool(ids), bool(given), everything].count(True) != 1:
            raise click.UsageError(
                "Say which dead letters are meant: by their ids, by filters (--task, --error, --queue, --older-than, "
                "--newer-than), or --all; one of the three."
            )
        return cls(list(dict.fromkeys(ids)), given, everything)

    async def retry(self, broker: Broker) -> Retried:
        """Let them run again."""
        return await broker.dead.retry(*self.ids, everything=self.everything, **self.filters)

    async def drop(self, broker: Broker) -> Sequence[str]:
        """Drop them; return their ids."""
        return await broker.dead.drop(*self.ids, everything=self.everything, **self.filters)


@click.group()
def dead() -> None:
    """Look after the calls that failed for good: the dead letters."""


@dead.command("list")
@on_app
@with_filters
@click.option(
    "--limit", type=click.IntRange(min=1), metavar="N", default=100, show_default=True, help="At most so many."
)
def list_letters(app: str, app_dir: Path, as_json: bool, limit: int, **filters: Any) -> None:
    """List the dead letters of APP, the newest first."""
    letters = ask(load(app, app_dir), lambda broker: broker.dead.list(**filters, limit=limit + 1))
    shown = letters[:limit]
    if as_json:
        for letter in shown:
            print_object(_facts(letter))
        return
    if not letters:
        click.echo("No dead letters.")
        return
    print_table(HEADERS, [_row(letter) for letter in shown], right=("ATTEMPTS",))
    if len(letters) > limit:
        click.echo(f"These are the newest {limit:,}; --limit shows more.", err=True)


@dead.command()
@on_app
@click.argument("id")
def show(app: str, app_dir: Path, as_json: bool, id: str) -> None:
    """Show all that is known of the end of the call ID, its arguments and its traceback."""
    letter = ask(load(app, app_dir), lambda broker: broker.dead.get(id))
    if letter is None:
        raise Unanswered(f"{id}: {NO_SUCH_LETTER}.")
    if as_json:
        print_object(_facts(letter))
        return
    for name, value in _description(letter):
        click.echo(f"{name:<10}  {plain(value)}".rstrip())
    if letter.traceback:
        click.echo(f"\n{letter.traceback.rstrip()}")


@dead.command()
@on_app
@click.argument("ids", metavar="[ID]...", nargs=-1)
@with_filters
@click.option("--all", "everything", is_flag=True, help="All that there are.")
def retry(app: str, app_dir: Path, as_json: bool, ids: Sequence[str], everything: bool, **filters: Any) -> None:
    """Let calls of APP run again, from their first attempt on: put them back into their queues."""
    choice = Choice.of(ids, everything, filters)
    retried = ask(load(app, app_dir), choice.retry)
    if as_json:
        print_object(facts_of(retried))
    else:
        click.echo(f"{_counted(len(retried.ids))} put back.")
        for id, why in retried.refused.items():
            click.echo(f"{plain(id)}: not put back: {why}.", err=True)
    if retried.refused:
        sys.exit(1)


@dead.command()
@on_app
@click.argument("ids", metavar="[ID]...", nargs=-1)
@with_filters
@click.option("--all", "everything", is_flag=True, help="All that there are.")
@click.option("--yes", is_flag=True, help="Don't ask before more than one is dropped.")
def drop(
    app: str, app_dir: Path, as_json: bool, ids: Sequence[str], everything: bool, yes: bool, **filters: Any
) -> None:
    """Forget dead letters of APP for good. Asks before more than one is dropped."""
    choice = Choice.of(ids, everything, filters)
    broker = load(app, app_dir)
    dropped = ask(broker, choice.drop) if yes else _dropped_after_a_look(broker, choice)
    missing = [id for id in choice.ids if id not in dropped]
    if as_json:
        print_object({"ids": dropped, "missing": missing})
    else:
        click.echo(f"{_counted(len(dropped))} dropped.")
        for id in missing:
            click.echo(f"{plain(id)}: {NO_SUCH_LETTER}.", err=True)
    if missing:
        sys.exit(1)


def _dropped_after_a_look(broker: Broker, choice: Choice) -> Sequence[str]:
    """Ask before more than one is dropped; then drop those that were there when that was asked, and no later ones."""
    letters: Sequence[DeadLetter | str] = choice.ids
    if not choice.ids:
        letters = ask(broker, lambda broker: broker.dead.list(**choice.filters, limit=None))
    count = len(letters)
    if count > 1 and not sys.stdin.isatty():
        raise click.UsageError(f"This would drop {_counted(count)} for good, and there is nobody to ask: add --yes.")
    if count > 1:
        click.confirm(f"Drop {_counted(count)} for good?", abort=True)
    return ask(broker, lambda broker: broker.dead.drop(*letters)) if letters else []


def _counted(count: int) -> str:
    return "1 dead letter" if count == 1 else f"{count:,} dead letters"


def _row(letter: DeadLetter) -> Sequence[str]:
    died = f"{span((datetime.now(UTC) - letter.died_at).total_seconds())} ago"
    return died, letter.id, letter.queue, letter.task or "?", str(letter.attempts), _error_of(letter)


def _error_of(letter: DeadLetter) -> str:
    text = _spoken(letter.error_type, letter.error_message) or letter.reason
    return text.partition("\n")[0]


def _spoken(error_type: str, message: str) -> str:
    return f"{spoken_type(error_type)}: {message}" if error_type else ""


def _description(letter: DeadLetter) -> Sequence[tuple[str, str]]:
    arguments = [repr(each) for each in letter.args] + [f"{name}={each!r}" for name, each in letter.kwargs.items()]
    return (
        ("id", letter.id),
        ("task", letter.task or "? (its message cannot be read)"),
        ("queue", letter.queue),
        ("arguments", ", ".join(arguments)),
        ("labels", ", ".join(f"{name}={each!r}" for name, each in letter.labels.items())),
        ("enqueued", moment(letter.enqueued_at)),
        ("died", moment(letter.died_at)),
        ("attempts", str(letter.attempts)),
        *(
            (f"attempt {past.number}", f"{moment(past.finished_at)}  {_spoken(past.error_type, past.error_message)}")
            for past in letter.history
        ),
        ("worker", letter.worker),
        ("reason", letter.reason),
        ("error", _spoken(letter.error_type, letter.error_message)),
    )


def _facts(letter: DeadLetter) -> dict[str, Any]:
    facts = facts_of(letter)
    facts["body"] = letter.body.decode(errors="replace")
    return facts
