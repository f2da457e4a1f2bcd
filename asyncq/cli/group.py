"""The command `asyncq`, to which the others belong."""

import click

from asyncq import __version__
from asyncq.cli.worker import worker


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="asyncq", message="%(prog)s %(version)s")
def main() -> None:
    """An asyncio-native distributed task queue."""


main.add_command(worker)
