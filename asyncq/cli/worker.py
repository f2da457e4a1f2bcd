"""`asyncq worker`: one process, or a supervisor of several."""

import asyncio
import signal
import sys
from collections.abc import Sequence
from functools import partial
from typing import Any

import click

from asyncq import __version__
from asyncq.cli.asking import Refused, app_dir_option
from asyncq.cli.loading import split_app
from asyncq.cli.logs import set_up_logging
from asyncq.cli.options import (
    MegabytesType,
    QueueSlotsType,
    SecondsType,
    WorkerOptions,
    fail_fast_option,
    log_format_option,
    log_level_option,
    unique_queues,
)
from asyncq.cli.running import run_pool_process, run_worker_process
from asyncq.errors import ConfigurationError
from asyncq.worker.child import Charge
from asyncq.worker.poolprocess import PoolCharge
from asyncq.worker.reload import Reloader
from asyncq.worker.supervisor import Supervisor

ARGUMENTS = "asyncq.arguments"


class WorkerCommand(click.Command):
    """Keeps its arguments as they were typed: children are started with the same."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta[ARGUMENTS] = tuple(args)
        return super().parse_args(ctx, args)


@click.command(cls=WorkerCommand, context_settings={"show_default": True})
@click.argument("app")
@click.argument("modules", metavar="[MODULE]...", nargs=-1)
@click.option(
    "--queue",
    "queues",
    type=QueueSlotsType(),
    multiple=True,
    callback=unique_queues,
    help="Consume this queue, N of its tasks at once. Repeatable. By default: 'default' and what declared tasks name.",
)
@click.option(
    "--concurrency",
    type=click.IntRange(min=1),
    metavar="N",
    default=100,
    help="Tasks that run at once in each process.",
)
@click.option("--processes", type=click.IntRange(min=1), metavar="N", default=1, help="Worker processes.")
@app_dir_option
@click.option(
    "--burst", is_flag=True, help="End when nothing is ready; what is due later, or has no turn yet, is left."
)
@click.option("--reload", is_flag=True, help="Restart when Python code in the app folder changes (for development).")
@click.option(
    "--shutdown-timeout",
    type=SecondsType(),
    default=30.0,
    help="Time that running tasks have to finish after SIGTERM or Ctrl-C; the rest is handed back.",
)
@click.option(
    "--lease",
    type=SecondsType(or_equal=False),
    default=15.0,
    help="Time after which others take over the tasks of a worker that is not heard of.",
)
@click.option(
    "--max-block",
    type=SecondsType(or_equal=False),
    default=300.0,
    help="Time that one task may block the event loop; then the process is ended.",
)
@click.option(
    "--pool-processes",
    type=click.IntRange(min=1),
    metavar="N",
    show_default="number of cores",
    help="Processes for tasks with runs_in='process', at most, in each worker process.",
)
@click.option(
    "--max-tasks-per-child",
    type=click.IntRange(min=1),
    metavar="N",
    help="Replace a worker process that has run so many tasks.",
)
@click.option(
    "--max-memory-per-child",
    type=MegabytesType(or_equal=False),
    help="Replace a worker process that has more in memory.",
)
@log_level_option
@log_format_option
@click.option("--scheduler", is_flag=True, help="Run the schedules, too, beside any number of others that do.")
@fail_fast_option
@click.option("--charge", type=Charge.parse, hidden=True)
@click.option("--pool-charge", type=PoolCharge.parse, hidden=True)
@click.version_option(__version__, prog_name="asyncq", message="%(prog)s %(version)s")
@click.pass_context
def worker(ctx: click.Context, /, charge: Charge | None, pool_charge: PoolCharge | None, **values: Any) -> None:
    """Run the tasks of APP, which is module:attribute: "app:broker" for the broker of app.py.

    Each MODULE is imported after it, so that the tasks that it declares are known.
    """
    options = WorkerOptions(**values)
    if options.burst and options.reload:
        raise click.UsageError("--burst ends when there is nothing to do, --reload never ends: choose one.")
    set_up_logging(options.log_level, options.log_format)
    arguments = ctx.meta[ARGUMENTS]
    try:
        if pool_charge is not None:
            code = run_pool_process(options, pool_charge)
        elif charge is not None or not options.needs_supervisor:
            code = run_worker_process(options, charge, partial(_started_with, arguments, "--pool-charge"))
        else:
            code = asyncio.run(_supervise(options, arguments))
    except ConfigurationError as error:
        raise Refused(str(error)) from error
    sys.exit(code)


async def _supervise(options: WorkerOptions, arguments: Sequence[str]) -> int:
    """Run children with the same arguments; what can be told wrong without importing anything, is."""
    split_app(options.app)

    def supervisor() -> Supervisor:
        return Supervisor(
            partial(_started_with, arguments, "--charge"),
            processes=options.processes,
            shutdown_timeout=options.shutdown_timeout,
            is_burst=options.burst,
        )

    loop = asyncio.get_running_loop()
    doer = Reloader(supervisor, options.app_dir) if options.reload else supervisor()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, doer.stop)
    if isinstance(doer, Supervisor):
        loop.add_signal_handler(signal.SIGHUP, doer.restart)
    return await doer.run()


def _started_with(arguments: Sequence[str], option: str, charge: Charge | PoolCharge) -> Sequence[str]:
    """Return what starts a process with the same arguments, and a charge."""
    return [sys.executable, "-m", "asyncq", "worker", option, str(charge), *arguments]
