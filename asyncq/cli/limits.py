"""`asyncq limits`: what limits allow, and how that is changed while everything runs."""

from pathlib import Path

import click

from asyncq.broker import Broker
from asyncq.cli.asking import Refused, ask, load, on_app
from asyncq.cli.options import DurationType
from asyncq.cli.texts import print_object, print_table, span
from asyncq.errors import ConfigurationError
from asyncq.limits import ConcurrencyLimit, Kind, LimitState, Numbers, RateLimit

HEADERS = ("KIND", "NAME", "ALLOWS", "DECLARED", "PAUSED")

kind_option = click.option(
    "--kind", type=click.Choice([each.value for each in Kind]), help="Where both kinds have a limit of this name."
)


@click.group()
def limits() -> None:
    """Look at rate and concurrency limits, and change them for all workers at once."""


@limits.command("list")
@on_app
def list_(app: str, app_dir: Path, as_json: bool) -> None:
    """List the limits of APP: what holds now, what is declared where that is something else, and pauses."""
    broker = load(app, app_dir)
    found, now_ms = ask(broker, _found)
    if as_json:
        for state in found:
            print_object(_facts(state, now_ms))
    elif found:
        print_table(HEADERS, [_row(state, now_ms) for state in found])
    else:
        click.echo("No limits.")


@limits.command()
@on_app
@click.argument("name")
@click.argument("limit", type=int)
@click.option("--per", type=DurationType(), help="Of a rate limit: in how much time.")
@click.option("--burst", type=int, help="Of a rate limit: how many may start at once.")
def change(app: str, app_dir: Path, as_json: bool, name: str, limit: int, per: float | None, burst: int | None) -> None:
    """Let LIMIT hold for NAME, at once and until it is reset: a rate with --per, else as many at once."""
    broker = load(app, app_dir)
    try:
        if per is not None:
            numbers = RateLimit(limit, per, burst=burst).numbers
        elif burst is not None:
            raise Refused("--burst is of a rate limit: say --per as well.")
        else:
            numbers = ConcurrencyLimit(limit).numbers
    except ConfigurationError as error:
        raise Refused(str(error)) from error
    kind = Kind.SLOTS if per is None else Kind.RATE

    async def do(broker: Broker) -> None:
        state = await _state(broker, name, kind.value)
        await (await broker.limit_office()).change(state.id, numbers)

    ask(broker, do)
    _say(as_json, name, "changed")


@limits.command()
@on_app
@click.argument("name")
@kind_option
def reset(app: str, app_dir: Path, as_json: bool, name: str, kind: str | None) -> None:
    """Let what is declared hold again for NAME."""

    async def do(broker: Broker) -> None:
        await (await broker.limit_office()).change((await _state(broker, name, kind)).id, None)

    ask(load(app, app_dir), do)
    _say(as_json, name, "reset")


@limits.command()
@on_app
@click.argument("name")
@click.argument("time", type=DurationType())
@click.option("--key", help="Only this key of the limit.")
def pause(app: str, app_dir: Path, as_json: bool, name: str, time: float, key: str | None) -> None:
    """Let nothing start under the rate limit NAME for TIME; 0 ends a pause."""

    async def do(broker: Broker) -> None:
        state = await _state(broker, name, Kind.RATE.value)
        await (await broker.limit_office()).pause(state.id, key, round(time * 1000))

    ask(load(app, app_dir), do)
    _say(as_json, name, "paused" if time else "not paused any more")


async def _found(broker: Broker) -> tuple[list[LimitState], int]:
    return list(await broker.limit_states()), broker.now_ms()


async def _state(broker: Broker, name: str, kind: str | None) -> LimitState:
    """Return the one limit that is meant. Raises ConfigurationError."""
    states = await broker.limit_states()
    named = [state for state in states if state.id.name == name and kind in (None, state.id.kind.value)]
    if len(named) == 1:
        return named[0]
    if named:
        raise ConfigurationError(f"There are a rate limit and a concurrency limit {name!r}; say which with --kind.")
    known = ", ".join(f"{state.id.kind} {state.id.name!r}" for state in states) or "none"
    raise ConfigurationError(
        f"No{'' if kind is None else f' {kind}'} limit {name!r} is known. Known: {known}. "
        "A limit is known once a worker that declares it has started."
    )


def _row(state: LimitState, now_ms: int) -> tuple[str, ...]:
    declared = _shown(state.declared) if state.changed is not None else ""
    paused = span((state.paused_ms - now_ms) / 1000) if state.paused_ms > now_ms else ""
    return (state.id.kind, state.id.name, _shown(state.changed or state.declared), declared, paused)


def _shown(numbers: Numbers | None) -> str:
    if numbers is None:
        return "-"
    if not numbers.per_ms:
        return f"{numbers.limit} at once"
    burst = f", {numbers.burst} at once" if numbers.burst else ""
    return f"{numbers.limit} in {numbers.per_ms / 1000:g}s{burst}"


def _facts(state: LimitState, now_ms: int) -> dict[str, object]:
    return {
        "kind": state.id.kind.value,
        "name": state.id.name,
        "declared": None if state.declared is None else state.declared._asdict(),
        "changed": None if state.changed is None else state.changed._asdict(),
        "paused": max(0, state.paused_ms - now_ms) / 1000,
    }


def _say(as_json: bool, name: str, what: str) -> None:
    if as_json:
        print_object({"name": name, "done": what})
    else:
        click.echo(f"{name}: {what}.")
