"""One worker process, from its command line to its exit code."""

import asyncio
import logging
import os
from functools import partial
from typing import cast

import click

from asyncq.broker import Broker
from asyncq.cli.banner import banner_of
from asyncq.cli.interrupts import Interrupts
from asyncq.cli.loading import ImportFailed, load_broker, load_module, put_first_on_path
from asyncq.cli.options import WorkerOptions
from asyncq.errors import BrokerUnavailable, ConfigurationError, near_names
from asyncq.queues import DEFAULT_QUEUE
from asyncq.worker import Worker
from asyncq.worker.child import Charge, Line
from asyncq.worker.exits import end_within
from asyncq.worker.pooled import PoolLine, serve
from asyncq.worker.poolprocess import PoolCharge, PoolCommand

try:
    import uvloop
except ImportError:  # it is not made for every platform; asyncio's own loop does the same, slower
    uvloop = None

LOOP = f"uvloop {uvloop.__version__}" if uvloop else "asyncio's own loop"

THREADS_END = 1.0
"""Seconds that threads have to end once the worker has: those of tasks that would not stop end with the process."""

logger = logging.getLogger("asyncq.worker")


def run_worker_process(options: WorkerOptions, charge: Charge | None, pool_command: PoolCommand) -> int:
    """Load the application and work; return the exit code.

    Args:
        options: the command line.
        charge: from the supervisor; None: this process is alone, and signals are for it.
        pool_command: starts a process for tasks that run in one.

    Raises:
        ConfigurationError: the command line and the application do not fit together.
    """
    line = Line(charge.fd) if charge else None
    if line:
        line.listen()
    broker = _loaded(options)
    if broker is None:
        return 1
    worker = _worker(options, broker, charge, line, pool_command)
    if charge is None or charge.is_first:
        _introduce(options, broker, worker, os.getppid() if charge else os.getpid())
    if line:
        line.tell("loaded")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop if uvloop else None) as runner:
        code = runner.run(_work(worker, line))
        end_within(THREADS_END, code)
        return code


def run_pool_process(options: WorkerOptions, charge: PoolCharge) -> int:
    """Load the application as the worker did, and take calls from it; return the exit code."""
    line = PoolLine(charge)
    line.secure()
    broker = _loaded(options)
    if broker is None:
        return 1
    serve(broker, line)
    return 0


def _loaded(options: WorkerOptions) -> Broker | None:
    """Import the application; None when it raised, which is shown."""
    put_first_on_path(options.app_dir)
    try:
        broker = load_broker(options.app, options.app_dir)
        for module in options.modules:
            load_module(module, options.app_dir)
    except ImportFailed as error:
        logger.critical("%s", error, exc_info=error.__cause__)
        return None
    return broker


def _worker(
    options: WorkerOptions, broker: Broker, charge: Charge | None, line: Line | None, pool_command: PoolCommand
) -> Worker:
    def started() -> None:
        logger.info("Ready.")
        if line:
            line.tell("started")

    return Worker(
        broker,
        queues=dict(options.queues) or None,
        concurrency=options.concurrency,
        burst=options.burst,
        shutdown_timeout=options.shutdown_timeout,
        lease=options.lease,
        max_block=options.max_block,
        pool_processes=options.pool_processes,
        pool_command=pool_command,
        max_tasks=options.max_tasks_per_child,
        max_memory=options.max_memory_per_child,
        name=charge.name if charge else None,
        fail_fast=options.fail_fast,
        scheduler=options.scheduler,
        on_started=started,
        on_spent=partial(line.tell, "spent") if line else None,
    )


def _introduce(options: WorkerOptions, broker: Broker, worker: Worker, pid: int) -> None:
    banner = banner_of(options, broker, worker, loop=LOOP, pid=pid)
    if options.log_format == "text":
        click.echo(banner.text(), err=True)
    else:
        logger.info("Starting.", extra=banner._asdict())
    known = {DEFAULT_QUEUE, *broker.queues, *(task.queue for task in broker.tasks.values())}
    for name in worker.queues:
        if name not in known:
            logger.warning("No declared task or Queue names queue %r.%s", name, near_names(name, known))


async def _work(worker: Worker, line: Line | None) -> int:
    loop = asyncio.get_running_loop()
    if line:
        line.attach(worker, loop)
    else:
        Interrupts(worker, loop).install()
    try:
        await worker.run()
    except BrokerUnavailable as error:
        logger.critical("%s", error)
        return 1
    except Exception as error:
        refusal = _refusal_in(error)
        if refusal is not None:  # what only the server or the file could tell
            raise refusal from None
        logger.critical("The worker has failed.", exc_info=True)
        return 1
    logger.info("Stopped.")
    return 0


def _refusal_in(error: Exception) -> ConfigurationError | None:
    """Return the ConfigurationError that this is, or that a task group has wrapped."""
    if isinstance(error, ExceptionGroup):
        inner = cast("ExceptionGroup[Exception]", error).exceptions
        return next(filter(None, map(_refusal_in, inner)), None)
    return error if isinstance(error, ConfigurationError) else None
