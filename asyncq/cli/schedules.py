"""`asyncq schedules`: what is called when, listed, shown, added, paused, removed and run."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import click

from asyncq.broker import Broker
from asyncq.broker.schedules import ScheduleInfo
from asyncq.cli.asking import Unanswered, ask, load, on_app
from asyncq.cli.options import DurationType, JSONType, MomentType
from asyncq.cli.texts import facts_of, moment, number, plain, print_object, print_table, span
from asyncq.errors import DecodeError, ScheduleError
from asyncq.schedules import At, Cron, Every, Schedule, schedule_to_dict
from asyncq.tasks import Task

T = TypeVar("T")

HEADERS = ("NAME", "TASK", "SCHEDULE", "NEXT", "LAST", "RUNS", "STATE")

_NO_TIMES = ("start", "end", "count")


@click.group()
def schedules() -> None:
    """Look after schedules: those that tasks declare, once a scheduler has run, and those that were added."""


@schedules.command("list")
@on_app
def list_schedules(app: str, app_dir: Path, as_json: bool) -> None:
    """List the schedules of APP."""
    found = ask(load(app, app_dir), lambda broker: broker.schedules.list())
    if as_json:
        for each in found:
            print_object(_facts(each))
    elif found:
        print_table(HEADERS, [_row(each) for each in found], right=("RUNS",))
    else:
        click.echo("No schedules.")


@schedules.command()
@on_app
@click.argument("name")
def show(app: str, app_dir: Path, as_json: bool, name: str) -> None:
    """Show all that is known of the schedule NAME."""
    found = ask(load(app, app_dir), lambda broker: broker.schedules.get(name))
    if found is None:
        raise Unanswered(f"There is no schedule {name!r}.")
    _print(found, as_json=as_json)


@schedules.command()
@on_app
@click.argument("name")
@click.argument("task")
@click.option("--cron", metavar="TEXT", help="Five fields, or @daily.")
@click.option("--tz", metavar="NAME", default="UTC", show_default=True, help="Time zone of --cron.")
@click.option("--every", type=DurationType(), help="A span of time: 30s, 15m, 1d.")
@click.option("--at", type=MomentType(), help="Once: 2026-01-31T08:00+01:00.")
@click.option("--args", type=JSONType(list), default="[]", help="What the task is called with: '[42]'.")
@click.option("--kwargs", type=JSONType(dict), default="{}", help="The same by name: '{\"user_id\": 42}'.")
@click.option("--start", type=MomentType(), help="No tick before.")
@click.option("--end", type=MomentType(), help="No tick after.")
@click.option("--count", type=click.IntRange(min=1), metavar="N", help="So many ticks, counted from --start.")
@click.option("--jitter", type=DurationType(), default="0", help="Up to so much later than the tick.")
@click.option("--catch-up", type=click.Choice(["skip", "one", "all"]), default="one", help="Of missed ticks.")
@click.option("--grace", type=DurationType(), default="1h", show_default=True, help="How late a missed tick may run.")
@click.option("--no-overlap", is_flag=True, help="Pass over a tick while the call before has not ended.")
def add(app: str, app_dir: Path, as_json: bool, name: str, task: str, **values: Any) -> None:
    """Add a schedule of the name NAME which calls TASK, or replace one that was added. One of --cron, --every, --at."""
    broker = load(app, app_dir)

    async def question(broker: Broker) -> ScheduleInfo:
        found = broker.tasks.find(task)
        return await broker.schedules.add(found, _schedule(name, found, values))

    _print(_asked(broker, question), as_json=as_json)


@schedules.command()
@on_app
@click.argument("name")
def pause(app: str, app_dir: Path, as_json: bool, name: str) -> None:
    """Stop the ticks of the schedule NAME until it is resumed."""
    _print(_asked(load(app, app_dir), lambda broker: broker.schedules.pause(name)), as_json=as_json)


@schedules.command()
@on_app
@click.argument("name")
def resume(app: str, app_dir: Path, as_json: bool, name: str) -> None:
    """Let the schedule NAME tick again, from its next tick after now on."""
    _print(_asked(load(app, app_dir), lambda broker: broker.schedules.resume(name)), as_json=as_json)


@schedules.command()
@on_app
@click.argument("name")
def remove(app: str, app_dir: Path, as_json: bool, name: str) -> None:
    """Remove the schedule NAME, which was added."""
    is_removed = _asked(load(app, app_dir), lambda broker: broker.schedules.remove(name))
    if not is_removed:
        raise Unanswered(f"There is no schedule {name!r}.")
    if as_json:
        print_object({"removed": name})
    else:
        click.echo(f"{plain(name)} is removed.")


@schedules.command()
@on_app
@click.argument("name")
def run(app: str, app_dir: Path, as_json: bool, name: str) -> None:
    """Publish the call of the schedule NAME now; its ticks stay as they are."""
    handle = _asked(load(app, app_dir), lambda broker: broker.schedules.run_now(name))
    if as_json:
        print_object({"id": handle.id})
    else:
        click.echo(f"Published: {handle.id}")


def _asked(broker: Broker, question: Callable[[Broker], Awaitable[T]]) -> T:
    try:
        return ask(broker, question)
    except (ScheduleError, LookupError) as error:
        raise Unanswered(str(error)) from error


def _schedule(name: str, task: Task[..., Any], values: dict[str, Any]) -> Schedule:
    forms = [form for form in ("cron", "every", "at") if values[form] is not None]
    if len(forms) != 1:
        raise click.UsageError("Say when: one of --cron, --every and --at.")
    if forms == ["at"] and any(values[option] is not None for option in _NO_TIMES):
        raise click.UsageError("--at is one tick: leave out --start, --end and --count.")
    try:
        task.arguments.bound(values["args"], values["kwargs"])
        args, kwargs = task.arguments.decode(values["args"], values["kwargs"])
    except (TypeError, DecodeError) as error:
        raise click.UsageError(f"--args and --kwargs: {error}") from error
    common: dict[str, Any] = {
        "name": name,
        "args": tuple(args),
        "kwargs": kwargs,
        "jitter": values["jitter"],
        "catch_up": values["catch_up"],
        "grace": values["grace"],
        "overlap": not values["no_overlap"],
    }
    if values["at"] is not None:
        return At(values["at"], **common)
    common |= {option: values[option] for option in _NO_TIMES}
    if values["every"] is not None:
        return Every(values["every"], **common)
    return Cron(values["cron"], tz=values["tz"], **common)


def _row(each: ScheduleInfo) -> Sequence[str]:
    now = datetime.now(UTC)
    last = "-" if each.last_at is None else f"{span((now - each.last_at).total_seconds())} ago"
    return each.name, each.task, repr(each.schedule), moment(each.next_at), last, number(each.runs), _state(each)


def _state(each: ScheduleInfo) -> str:
    if each.is_paused:
        return "paused"
    return "over" if each.next_at is None else "on"


def _print(each: ScheduleInfo, *, as_json: bool) -> None:
    if as_json:
        print_object(_facts(each))
        return
    arguments = [repr(value) for value in each.args] + [f"{name}={value!r}" for name, value in each.kwargs.items()]
    for name, value in (
        ("name", each.name),
        ("schedule", repr(each.schedule)),
        ("task", each.task),
        ("arguments", ", ".join(arguments)),
        ("queue", each.queue),
        ("state", _state(each)),
        ("next", moment(each.next_at)),
        ("last", moment(each.last_at)),
        ("last call", each.last_id or "-"),
        ("runs", number(each.runs)),
        ("passed", number(each.passed)),
        ("from", "the code" if each.is_declared else "added"),
    ):
        click.echo(f"{name:<10}  {plain(value)}".rstrip())


def _facts(each: ScheduleInfo) -> dict[str, Any]:
    schedule = each.schedule
    facts = {name: value for name, value in facts_of(each).items() if name != "schedule"}
    policies = {"catch_up": schedule.catch_up, "grace": schedule.grace, "overlap": schedule.overlap}
    return facts | {"schedule": schedule_to_dict(schedule) | policies}
