"""`asyncq scheduler`: a process that runs schedules and nothing else."""

import asyncio
import logging
import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from asyncq import __version__
from asyncq.broker import Broker
from asyncq.cli.asking import Refused, app_argument, app_dir_option, load
from asyncq.cli.banner import spoken_schedules
from asyncq.cli.interrupts import Interrupts
from asyncq.cli.options import SecondsType, fail_fast_option, log_format_option, log_level_option
from asyncq.errors import BrokerUnavailable, ConfigurationError
from asyncq.scheduler import Scheduler

logger = logging.getLogger("asyncq.scheduler")


@click.command(context_settings={"show_default": True})
@app_argument
@click.argument("modules", metavar="[MODULE]...", nargs=-1)
@app_dir_option
@click.option(
    "--lease",
    type=SecondsType(or_equal=False),
    default=15.0,
    help="Time after which a schedule that no running code declares any more is removed.",
)
@log_level_option
@log_format_option
@fail_fast_option
def scheduler(
    app: str, modules: Sequence[str], app_dir: Path, lease: float, log_level: str, log_format: str, fail_fast: bool
) -> None:
    """Run the schedules of APP, beside any number of others: each tick is published once.

    Each MODULE is imported after it, so that the schedules that it declares are known.
    """
    broker = load(app, app_dir, modules=modules, log_level=log_level, log_format=log_format)
    try:
        doer = Scheduler(broker, lease=lease, fail_fast=fail_fast, on_started=lambda: logger.info("Ready."))
        _introduce(app, broker, lease, log_format)
        sys.exit(asyncio.run(_run(doer)))
    except ConfigurationError as error:
        raise Refused(str(error)) from error


async def _run(doer: Scheduler) -> int:
    Interrupts(doer, asyncio.get_running_loop()).install()
    try:
        await doer.run()
    except BrokerUnavailable as error:
        logger.critical("%s", error)
        return 1
    logger.info("Stopped.")
    return 0


def _introduce(app: str, broker: Broker, lease: float, log_format: str) -> None:
    names = sorted(broker.declared_schedules)
    if log_format == "json":
        facts = {"version": __version__, "pid": os.getpid(), "app": app, "broker": broker.describe()}
        facts |= {"namespace": broker.namespace, "schedules": names, "lease": lease}
        logger.info("Starting.", extra=facts)
        return
    lines = [
        f"asyncq {__version__}, Python {platform.python_version()}, pid {os.getpid()}",
        f"  app          {app}",
        f"  broker       {broker.describe()}, namespace {broker.namespace}",
        f"  schedules    {spoken_schedules(names)}",
        f"  lease        {lease:g} s",
    ]
    click.echo("\n".join(lines), err=True)
