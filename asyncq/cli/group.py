"""The command `asyncq`, to which the others belong."""

import click

from asyncq import __version__
from asyncq.cli.check import check
from asyncq.cli.dead import dead
from asyncq.cli.limits import limits
from asyncq.cli.queues import queues
from asyncq.cli.scheduler import scheduler
from asyncq.cli.schedules import schedules
from asyncq.cli.unique import unique
from asyncq.cli.worker import worker
from asyncq.cli.workers import workers


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="asyncq", message="%(prog)s %(version)s")
def main() -> None:
    """An asyncio-native distributed task queue."""


for command in (worker, scheduler, workers, queues, schedules, dead, unique, limits, check):
    main.add_command(command)
