"""The demo's way through the service: real requests, one chapter after the other, every answer checked."""

import asyncio
from collections.abc import Mapping
from math import isclose
from pathlib import Path
from time import perf_counter, sleep
from typing import Any

import httpx

from examples.fastapi_app.client import end_of, follow, outcome, post, upload
from examples.fastapi_app.sample import Sample
from examples.fastapi_app.screen import Screen
from examples.fastapi_app.settings import Settings

_TEXT = "the early bird catches the worm but the second mouse gets the cheese"
_WORDS = {"count": 13, "most_common": ["the", "early", "bird"]}
_SHOWN = ("name", "kind", "count", "missing", "distinct", "minimum", "maximum", "mean", "deviation")


class WrongResult(Exception):
    """Something came back otherwise than it must."""


class Walk:
    """The way through the service.

    Args:
        client: asks the service.
        settings: the service's.
        sample: the file to upload.
        screen: shows what happens.
    """

    def __init__(self, client: httpx.AsyncClient, settings: Settings, sample: Sample, screen: Screen) -> None:
        self._client = client
        self._settings = settings
        self._sample = sample
        self._screen = screen
        self._remembers = settings.broker().capabilities.has_memory

    async def run(self) -> None:
        """Go through all chapters. Raises WrongResult, or what the client raises."""
        await self._first_answer()
        if self._remembers:
            await self._report()
        await self._quick()
        await self._retried()
        await self._delayed()
        await self._many()
        if self._remembers:
            await self._refused()
            await self._cleaned_up()
        else:
            await self._without_memory()

    async def _first_answer(self) -> None:
        state = await outcome(self._client, "/deliveries", {"order": 1, "outages": 0})
        expect("the first task", state["result"], "order 1 delivered at attempt 1")
        self._screen.line("Both are up: a first task went all the way.")

    async def _report(self) -> None:
        rows, size = self._sample.rows, self._sample.path.stat().st_size
        self._screen.title(f"A report on a CSV file of {rows:,} rows")
        start = perf_counter()
        accepted = await upload(self._client, self._sample.path)
        self._screen.line(f"submitted  {size / 1e6:.1f} MB in {perf_counter() - start:.2f} s: {accepted['url']}")
        start = perf_counter()
        state = await self._followed(accepted["url"])
        took = perf_counter() - start
        expect("the report's status", state["status"], "succeeded")
        report = state["result"]
        expect("the rows of the report", report["rows"], rows)
        self._check_columns(report["columns"])
        self._screen.line(f"done in {took:.1f} s, {rows / took:,.0f} rows/s; each figure is what it must be:")
        self._screen.table(_SHOWN, [[shown(column, name) for name in _SHOWN] for column in report["columns"]])

    async def _followed(self, url: str) -> dict[str, Any]:
        state: dict[str, Any] = {}
        async for state in follow(self._client, url):
            if progress := state["progress"]:
                self._screen.bar(progress["done"], progress["total"], progress["note"])
        if state["result"]:  # the last progress may be overtaken by the end
            self._screen.bar(state["result"]["rows"], state["result"]["rows"], "rows")
        self._screen.end_bar()
        # The stream told the end; a question of its own must get the same answer.
        expect("the report when asked again", await end_of_report(self._client, url), without_progress(state))
        return state

    def _check_columns(self, columns: list[dict[str, Any]]) -> None:
        expect("the number of columns", len(columns), len(self._sample.columns))
        for column, expected in zip(columns, self._sample.columns, strict=True):
            for name, value in expected.items():
                expect(f"{name} of column {expected['name']!r}", column[name], value)

    async def _quick(self) -> None:
        self._screen.title("A result within the request")
        start = perf_counter()
        words = await post(self._client, "/quick", {"text": _TEXT}, 200)
        expect("the words", words, _WORDS)
        self._screen.line(f"200 after {1000 * (perf_counter() - start):.0f} ms: {words['count']} words")
        if self._remembers:
            await self._late()

    async def _late(self) -> None:
        start = perf_counter()
        pending = await post(self._client, "/quick", {"text": _TEXT, "pause": 1.5}, 202)
        self._screen.line(f"a slower one: 202 after {perf_counter() - start:.2f} s, to be found at {pending['url']}")
        state = await end_of(self._client, pending["url"])
        expect("the late words", state["result"], _WORDS)
        self._screen.line(f"there, after {perf_counter() - start:.2f} s: {state['result']['count']} words")

    async def _retried(self) -> None:
        self._screen.title("A task that fails twice")
        start = perf_counter()
        state = await outcome(self._client, "/deliveries", {"order": 17, "outages": 2})
        expect("the delivery", (state["result"], state["attempts"]), ("order 17 delivered at attempt 3", 3))
        self._screen.line(f"{state['result']}, after {perf_counter() - start:.2f} s")

    async def _delayed(self) -> None:
        self._screen.title("A task that is due in one second")
        state = await outcome(self._client, "/reminders", {"text": "tea is ready", "seconds": 1})
        expect("the reminder", state["result"]["text"], "tea is ready")
        late = state["result"]["late"]
        # Due times are whole milliseconds, so it may come that little early.
        expect(f"that it was not early ({late:.3f} s)", late > -0.002, True)
        self._screen.line(f"{state['result']['text']!r}, {1000 * late:.0f} ms after it was due")

    async def _many(self, count: int = 1000) -> None:
        self._screen.title(f"{count:,} small tasks at once")
        answer = await post(self._client, "/squares", {"count": count}, 200)
        expect("the squares", answer["squares"], [number * number for number in range(count)])
        published, finished = answer["published_in"], answer["finished_in"]
        self._screen.line(
            f"published in {1000 * published:.0f} ms, all results there after {1000 * finished:.0f} ms: "
            f"{count / finished:,.0f} tasks/s"
        )

    async def _refused(self) -> None:
        self._screen.title("What is wrong is said")
        answer = await self._client.post("/reports", params={"name": "nothing.csv"}, content=b"")
        expect("the status for an empty file", answer.status_code, 422)
        self._screen.line(f"an empty file: 422, {answer.json()['detail']}")
        accepted = await self._client.post("/reports", params={"name": "bad.csv"}, content=b"a,b\n1,2\n3,4,5\n")
        state = await end_of_report(self._client, accepted.json()["url"])
        expect("the status of a bad file", (state["status"], state["attempts"]), ("failed", 1))
        self._screen.line(f"a bad one: {state['status']} at attempt {state['attempts']}, {state['error']}")
        answer = await self._client.get(f"/reports/report-{0:032x}")
        expect("the status of an unknown report", answer.status_code, 404)
        self._screen.line("a report that nobody asked for: 404")

    async def _without_memory(self) -> None:
        self._screen.title("What needs a memory of calls is refused")
        accepted = await post(self._client, "/deliveries", {"order": 18, "outages": 0})
        expect("where to ask for it", accepted["url"], None)
        self._screen.line("an order whose end nobody waits for: 202, and no address to ask at")
        await self._unsupported("asking for a call", await self._client.get(f"/calls/{accepted['id']}"))
        await self._unsupported("a report", await self._client.post("/reports", content=b"a,b\n1,2\n"))
        self._screen.line("ASYNCQ_STORE=redis://... or sqlite:///... gives the service one.")

    async def _unsupported(self, what: str, answer: httpx.Response) -> None:
        expect(f"the status of {what}", answer.status_code, 501)
        self._screen.line(f"{what}: 501, {answer.json()['detail']}")

    async def _cleaned_up(self) -> None:
        self._screen.title("Uploads do not stay")
        kept = self._settings.keep_upload
        await asyncio.to_thread(wait_until_empty, self._settings.uploads, kept + 10)
        self._screen.line(f"each was removed by a task of its own, {kept:.0f} s after its report")


def expect(what: str, found: Any, wanted: Any) -> None:
    """Raise WrongResult unless both are equal, floats but for rounding."""
    is_right = isclose(found, wanted, rel_tol=1e-9) if type(found) is type(wanted) is float else found == wanted
    if not is_right:
        raise WrongResult(f"{what}: expected {wanted!r}, got {found!r}")


async def end_of_report(client: httpx.AsyncClient, url: str) -> dict[str, Any]:
    """Follow a report to its end, and return what the service says when it is asked afterwards."""
    async for _ in follow(client, url):
        pass
    response = await client.get(url)
    response.raise_for_status()
    return response.json()


def without_progress(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return a final state as it is told to who did not follow it."""
    return {**state, "progress": None}


def wait_until_empty(folder: Path, seconds: float) -> None:
    """Wait until a folder has no files; raise WrongResult when that takes longer. Blocks."""
    deadline = perf_counter() + seconds
    while files := [path.name for path in folder.iterdir()]:
        expect(f"that {files} are gone in time", perf_counter() < deadline, True)
        sleep(0.05)


def shown(column: Mapping[str, Any], name: str) -> str:
    """Return a cell of the table."""
    value = column[name]
    if name == "distinct" and not column["is_distinct_exact"]:
        return f"> {value:,}"
    if isinstance(value, int):
        return f"{value:,}"
    return "" if value is None else f"{value:,.4f}" if isinstance(value, float) else str(value)[:24]
