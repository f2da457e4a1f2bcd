"""The broker and the tasks. `asyncq worker examples.fastapi_app.tasks:broker` runs them."""

import asyncio
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime

from asyncq import Context, Depends, RetryPolicy
from examples.fastapi_app.analysis import Analysis, Report
from examples.fastapi_app.csv_file import BadCsv
from examples.fastapi_app.settings import settings_from

ROWS_A_STEP = 2_000

settings = settings_from()
broker = settings.broker()


class PartnerDown(Exception):
    """The partner's server did not answer."""


@dataclass(frozen=True, slots=True)
class Words:
    """What is said about a text."""

    count: int
    most_common: list[str]


@dataclass(frozen=True, slots=True)
class Reminded:
    """A reminder that was given.

    Attributes:
        late: seconds after it was due.
    """

    text: str
    late: float


@broker.task(timeout=900, retry=RetryPolicy(max_attempts=3, never=(BadCsv,)))
async def analyse(report_id: str, name: str, ctx: Context = Depends()) -> Report:
    """Read an uploaded file to its end and report on its columns."""
    try:
        report = await _read_through(report_id, name, ctx)
    except BadCsv:
        await _discard_later(report_id)
        raise
    await _discard_later(report_id)
    return report


async def _read_through(report_id: str, name: str, ctx: Context) -> Report:
    # The computing happens in a thread, step by step, so that the worker's other tasks run on and a time limit or a
    # shutdown takes effect between two steps. A `def` task is put into a thread as a whole.
    with closing(await asyncio.to_thread(Analysis, settings.path_of(report_id))) as analysis:
        while await asyncio.to_thread(analysis.step, ROWS_A_STEP):
            await ctx.progress(analysis.rows, max(analysis.rows, analysis.expected_rows), "rows")
        await ctx.progress(analysis.rows, analysis.rows, "rows")
        return analysis.report(name)


async def _discard_later(report_id: str) -> None:
    # Not at once: a worker that dies before its result is stored leaves the file to the one that runs the task again.
    # With an id of its own the call is published once, however often this is run.
    await discard.options(id=f"discard-{report_id}", delay=settings.keep_upload).kiq(report_id)


@broker.task(store_result=False)
def discard(report_id: str) -> None:
    """Remove an uploaded file."""
    settings.path_of(report_id).unlink(missing_ok=True)


@broker.task
async def count_words(text: str, pause: float = 0) -> Words:
    """Count words, after a pause that stands for harder work."""
    await asyncio.sleep(pause)
    words = text.lower().split()
    return Words(len(words), [word for word, _ in Counter(words).most_common(3)])


@broker.task(retry=RetryPolicy(max_attempts=5, delay=0.2, on=(PartnerDown,)))
async def deliver(order: int, outages: int, ctx: Context = Depends()) -> str:
    """Hand an order to a partner whose server is down for the first attempts."""
    if ctx.attempt <= outages:
        ctx.log.info("The partner is down, order %d waits", order)
        raise PartnerDown(f"no answer to attempt {ctx.attempt}")
    return f"order {order} delivered at attempt {ctx.attempt}"


@broker.task
async def remind(text: str, due: datetime) -> Reminded:
    """Remind somebody at the time that was asked for."""
    return Reminded(text, (datetime.now(UTC) - due).total_seconds())


@broker.task
async def square(number: int) -> int:
    """Return the square of a number: as little work as there can be."""
    return number * number
