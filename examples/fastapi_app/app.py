"""The HTTP side: it takes uploads and questions, hands the work over, and tells how it stands."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any, TypeVar
from uuid import uuid4

from fastapi import Depends, FastAPI, HTTPException, Query, Request, Response
from fastapi import Path as InPath
from fastapi.responses import FileResponse, JSONResponse, StreamingResponse
from starlette.requests import ClientDisconnect

from asyncq import (
    BrokerUnavailable,
    Event,
    Handle,
    NotSupported,
    PublishRefused,
    ResultMissing,
    ResultTimeout,
    Status,
)
from asyncq.integrations.fastapi import BrokerDep, Pending, asyncq_lifespan, value_or_pending
from examples.fastapi_app.analysis import Report
from examples.fastapi_app.models import Accepted, Batch, CallState, Order, Reminder, Squares, Text, state_of
from examples.fastapi_app.tasks import Reminded, Words, analyse, broker, count_words, deliver, remind, settings, square
from examples.fastapi_app.uploads import UploadTooLarge, remove_stale, shown_name, store_upload

R = TypeVar("R")

PATIENCE = 1.0
"""Seconds that POST /quick waits for its result before it answers 202."""

LONG_PATIENCE = 60.0
"""The same where nobody could be asked later: without a store, only who waits sees a result."""

STALE = 24 * 3600.0
"""Seconds after which an upload is removed that nobody has reported on."""

Wait = Annotated[float, Query(ge=0, le=30)]
"""Seconds that a request waits for the end of a call."""

ReportId = Annotated[str, InPath(pattern=r"^report-[0-9a-f]{32}$")]


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
    """Clear away what a crash may have left behind."""
    await asyncio.to_thread(remove_stale, settings.uploads, STALE)
    yield


app = FastAPI(title="Reports", lifespan=asyncq_lifespan(broker, lifespan))


class End:
    """What a request is answered that has made a call, and may want to wait for its end."""

    def __init__(self, request: Request, response: Response, broker: BrokerDep, wait: Wait = 0) -> None:
        self._request = request
        self._response = response
        self._remembers = broker.capabilities.has_memory
        self._wait = wait

    async def of(self, handle: Handle[R]) -> CallState[R] | Accepted:
        """Return how the call ended if that is in time, with 200; else that it was accepted, and where to ask."""
        if self._wait:
            with suppress(ResultTimeout, ResultMissing):
                result = await handle.result(self._wait)
                self._response.status_code = 200
                return state_of(handle, Event(result.status, result=result))
        if not self._remembers:
            return Accepted(handle.id, None)
        url = self._request.url_for("call", call_id=handle.id).path
        self._response.headers["Location"] = url
        return Accepted(handle.id, url)


@app.exception_handler(BrokerUnavailable)
async def unavailable(_: Request, __: Exception) -> JSONResponse:
    """Tell the client to come back: publishing the same again is safe."""
    return JSONResponse({"detail": "The task queue cannot be reached."}, 503, headers={"Retry-After": "5"})


@app.exception_handler(ResultMissing)
async def missing(_: Request, error: Exception) -> JSONResponse:
    """Tell the client that the work may be done, and its result is lost."""
    return JSONResponse({"detail": str(error)}, 503)


@app.exception_handler(PublishRefused)
async def refused(_: Request, error: Exception) -> JSONResponse:
    """Tell the client that there is more work than the queue takes."""
    return JSONResponse({"detail": str(error)}, 429, headers={"Retry-After": "30"})


@app.exception_handler(NotSupported)
async def not_supported(_: Request, error: Exception) -> JSONResponse:
    """Tell the client what this service would need for that: without a store, RabbitMQ remembers no calls."""
    return JSONResponse({"detail": str(error)}, 501)


def remembering(broker: BrokerDep) -> None:
    """Refuse what nobody could ask for later before anything of it is taken in."""
    if not broker.capabilities.has_memory:
        raise broker.capabilities.without_memory("Reports")


@app.get("/", include_in_schema=False)
async def page() -> FileResponse:
    """Show the page."""
    return FileResponse(Path(__file__).with_name("page.html"), headers={"Cache-Control": "no-cache"})


@app.post(
    "/reports",
    status_code=202,
    dependencies=[Depends(remembering)],
    openapi_extra={"requestBody": {"content": {"text/csv": {}}, "required": True}},
)
async def upload(request: Request, response: Response, name: Annotated[str, Query(max_length=500)] = "") -> Accepted:
    """Take the body of the request, a CSV file, and have it analysed."""
    report_id = f"report-{uuid4().hex}"
    await _store(request, settings.path_of(report_id))
    try:
        await analyse.options(id=report_id).kiq(report_id, shown_name(name))
    except BaseException:
        _forget(settings.path_of(report_id))
        raise
    url = request.url_for("report", report_id=report_id).path
    response.headers["Location"] = url
    return Accepted(report_id, url)


async def _store(request: Request, path: Path) -> None:
    too_large = HTTPException(413, f"A file may have {settings.max_upload:,} bytes.")
    if int(request.headers.get("Content-Length", 0)) > settings.max_upload:
        raise too_large
    try:
        # The raw body instead of a form: it is bounded while it arrives, and not only after it has filled the disk.
        size = await store_upload(request.stream(), path, settings.max_upload)
    except UploadTooLarge as error:
        raise too_large from error
    except ClientDisconnect as error:
        raise HTTPException(400, "The upload was cut off.") from error
    if size == 0:
        _forget(path)
        raise HTTPException(422, "The file is empty.")


@app.get("/reports/{report_id}")
async def report(report_id: ReportId) -> CallState[Report]:
    """Tell how a report stands, or what it says."""
    return await _state_now(analyse.handle(report_id))


@app.get("/reports/{report_id}/events")
async def report_events(report_id: ReportId) -> StreamingResponse:
    """Send how a report stands now and each time that this changes, as Server-Sent Events; the last is named `end`."""
    handle = analyse.handle(report_id)
    if await handle.status() is Status.UNKNOWN:
        raise _unknown(handle)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}  # nginx must not wait for a full buffer
    return StreamingResponse(_events_of(handle), media_type="text/event-stream", headers=headers)


@app.post("/quick")
async def quick(text: Text, broker: BrokerDep, request: Request, response: Response) -> Words | Pending:
    """Count words while the client waits, or tell it where to look when that takes too long."""
    handle = await count_words.kiq(text.text, text.pause)
    url = request.url_for("call", call_id=handle.id).path
    patience = PATIENCE if broker.capabilities.has_memory else LONG_PATIENCE
    return await value_or_pending(handle, response, timeout=patience, url=url)


@app.post("/deliveries", status_code=202)
async def delivery(order: Order, end: Annotated[End, Depends()]) -> CallState[str] | Accepted:
    """Hand an order to a partner who may have to be asked more than once."""
    return await end.of(await deliver.kiq(order.order, order.outages))


@app.post("/reminders", status_code=202)
async def reminder(reminder: Reminder, end: Annotated[End, Depends()]) -> CallState[Reminded] | Accepted:
    """Have the broker keep a call until its time has come; no worker and no server needs to be up until then."""
    due = datetime.now(UTC) + timedelta(seconds=reminder.seconds)
    return await end.of(await remind.options(at=due).kiq(reminder.text, due))


@app.post("/squares")
async def squares(batch: Batch, broker: BrokerDep) -> Squares:
    """Publish many small tasks at once and gather what they return."""
    start = perf_counter()
    handles = await broker.kiq_many(square.message(number) for number in range(batch.count))
    published_in = perf_counter() - start
    values: list[int] = await asyncio.gather(*handles)
    return Squares(values, published_in, perf_counter() - start)


@app.get("/calls/{call_id}")
async def call(call_id: str, broker: BrokerDep, wait: Wait = 0) -> CallState[Any]:
    """Tell how any call stands; wait up to so many seconds for its end."""
    handle = broker.handle(call_id)
    if wait:
        with suppress(ResultTimeout, ResultMissing):
            await handle.result(wait)
    return await _state_now(handle)


def _forget(path: Path) -> None:
    path.unlink(missing_ok=True)


async def _state_now(handle: Handle[R]) -> CallState[R]:
    status = await handle.status()
    if status is Status.UNKNOWN:
        raise _unknown(handle)
    if not status.is_final:
        return state_of(handle, Event(status, await handle.progress()))
    try:
        result = await handle.result()
    except ResultMissing as error:  # forgotten between the two questions
        raise _unknown(handle) from error
    return state_of(handle, Event(status, result=result))


async def _events_of(handle: Handle[R]) -> AsyncIterator[str]:
    with suppress(ResultMissing):  # forgotten while we looked: the stream just ends
        async for event in handle.events():
            name = "end" if event.status.is_final else "state"
            yield f"event: {name}\ndata: {state_of(handle, event).model_dump_json()}\n\n"


def _unknown(handle: Handle[Any]) -> HTTPException:
    return HTTPException(404, f"Nothing is known of {handle.id!r}: it never was, or its result is no longer kept.")
