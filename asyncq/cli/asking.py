"""Asking: what the commands have in common that ask a broker something and end."""

import asyncio
import sys
import traceback
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from asyncq.broker import Broker
from asyncq.cli.loading import ImportFailed, load_broker, load_module, put_first_on_path
from asyncq.cli.logs import set_up_logging
from asyncq.errors import BrokerUnavailable, ConfigurationError

T = TypeVar("T")
Command = TypeVar("Command", bound=Callable[..., Any])

app_argument = click.argument("app")
app_dir_option = click.option(
    "--app-dir",
    type=click.Path(exists=True, file_okay=False, resolve_path=True, path_type=Path),
    default=".",
    show_default="the current one",
    help="Folder that comes first on sys.path.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")


class Refused(click.ClickException):
    """What was asked cannot be done: shown as one paragraph, without usage and traceback."""

    exit_code = 2


class Unanswered(click.ClickException):
    """The server or the application is at fault, and not the command line."""

    exit_code = 1


def on_app(command: Command) -> Command:
    """Give a command what all of these have: APP, --app-dir and --json."""
    return app_argument(app_dir_option(json_option(command)))


def load(
    app: str,
    app_dir: Path,
    *,
    modules: Sequence[str] = (),
    log_level: str = "warning",
    log_format: str = "text",
) -> Broker:
    """Return the broker that APP names, with what modules add to it, or end the command with what is wrong."""
    set_up_logging(log_level, log_format)
    put_first_on_path(app_dir)
    try:
        broker = load_broker(app, app_dir)
        for module in modules:
            load_module(module, app_dir)
        return broker
    except ConfigurationError as error:
        raise Refused(str(error)) from error
    except ImportFailed as error:
        traceback.print_exception(error.__cause__, file=sys.stderr)
        raise Unanswered(str(error)) from error


def ask(broker: Broker, question: Callable[[Broker], Awaitable[T]]) -> T:
    """Open the broker, ask, and close it; or end the command with what is wrong."""
    try:
        return asyncio.run(_asked(broker, question))
    except ConfigurationError as error:
        raise Refused(str(error)) from error
    except BrokerUnavailable as error:
        raise Unanswered(str(error)) from error


async def _asked(broker: Broker, question: Callable[[Broker], Awaitable[T]]) -> T:
    async with broker:
        return await question(broker)
