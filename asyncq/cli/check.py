"""`asyncq check`: whether the server is there, is fit, and is set up for the application."""

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from asyncq.cli.asking import Refused, load, on_app
from asyncq.cli.texts import facts_of, plain, print_object
from asyncq.errors import NotSupported
from asyncq.findings import Finding

MAX_DETAILS = 12
"""Details of one finding that people are shown."""


@click.command()
@on_app
@click.option(
    "--definitions",
    is_flag=True,
    help="Ask no server; print what APP needs on RabbitMQ, for `rabbitmqadmin import`.",
)
def check(app: str, app_dir: Path, as_json: bool, definitions: bool) -> None:
    """Say whether the server of APP answers, is new enough, and keeps what it is given.

    Ends with 0 where nobody has to do anything, with 1 where there is a warning or an error.
    """
    broker = load(app, app_dir, log_level="error")  # what the log would say is among the findings
    if definitions:
        try:
            click.echo(broker.definitions())
        except NotSupported as error:
            raise Refused(str(error)) from error
        return
    findings = asyncio.run(broker.check())
    if as_json:
        for finding in findings:
            print_object(facts_of(finding))
    else:
        click.echo(f"{broker.describe()}, namespace {broker.namespace}")
        _print(findings)
    sys.exit(not all(finding.is_fine for finding in findings))


def _print(findings: Sequence[Finding]) -> None:
    width = max(len(finding.about) for finding in findings)
    for finding in findings:
        click.echo(f"{finding.severity:<7}  {finding.about:<{width}}  {plain(finding.text)}")
        for detail in finding.details[:MAX_DETAILS]:
            click.echo(f"{'':<7}  {'':<{width}}  - {plain(detail)}")
        more = len(finding.details) - MAX_DETAILS
        if more > 0:
            click.echo(f"{'':<7}  {'':<{width}}  and {more} more; --json shows all.")
