"""`python -m examples.fastapi_app.demo`: start the service, send it real requests, check and show what comes back."""

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from time import perf_counter

import httpx

from asyncq.retry import leaves_of
from examples.fastapi_app.sample import Sample, write_sample
from examples.fastapi_app.screen import Screen
from examples.fastapi_app.service import CannotStart, Service, check_broker, end_on_signals, running_service
from examples.fastapi_app.settings import Settings, settings_for_one_run
from examples.fastapi_app.walk import Walk

TIME_LIMIT = 120.0
"""Seconds after which a demo that hangs gives up."""

KEEP_UPLOAD = 1.0
"""Seconds that the demo has uploads kept, so that it can see them go."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; return its exit code: 0 only if every result came back right."""
    parser = argparse.ArgumentParser(prog="python -m examples.fastapi_app.demo", description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000, help="rows of the uploaded file (default: %(default)s)")
    rows = parser.parse_args(arguments).rows
    end_on_signals()
    screen = Screen()
    try:
        with tempfile.TemporaryDirectory(prefix="asyncq-demo-") as folder:
            return run(Path(folder), rows, screen)
    except KeyboardInterrupt:
        screen.title("Stopped.")
        return 130


def run(folder: Path, rows: int, screen: Screen) -> int:
    """Run the demo with its data in a folder; return the exit code."""
    settings = replace(settings_for_one_run(folder), keep_upload=KEEP_UPLOAD)
    start = perf_counter()
    try:
        asyncio.run(check_broker(settings))
        with running_service(settings, folder) as service:
            screen.title(f"An HTTP server at {service.address}, a worker (process {service.worker.popen.pid}),")
            screen.line("and between them " + settings.broker().describe())
            if not _succeeds(service, screen, settings, write_sample(folder / "orders.csv", rows)):
                return 1
    except CannotStart as error:
        print(error, file=sys.stderr)
        return 1
    screen.title(f"Every result came back right. The whole took {perf_counter() - start:.1f} s.")
    return 0


def _succeeds(service: Service, screen: Screen, settings: Settings, sample: Sample) -> bool:
    failures: list[str] = []
    try:
        asyncio.run(_walk(service, screen, settings, sample))
    except* Exception as errors:
        failures = [f"{type(error).__name__}: {error}" for error in leaves_of(errors)]
    if failures:
        for failure in failures:
            screen.title(f"FAILED: {failure}")
        for process in service.processes:
            screen.title(f"Last lines of the {process.name}:")
            screen.line(process.log_end().replace("\n", "\n  ") or "(none)")
    return not failures


async def _walk(service: Service, screen: Screen, settings: Settings, sample: Sample) -> None:
    async with asyncio.timeout(TIME_LIMIT), asyncio.TaskGroup() as group:
        watch = group.create_task(service.watch())
        async with httpx.AsyncClient(base_url=service.address, timeout=60, trust_env=False) as client:
            await Walk(client, settings, sample, screen).run()
        watch.cancel()


if __name__ == "__main__":
    sys.exit(main())
