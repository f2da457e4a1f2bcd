"""What a FastAPI application needs of asyncq: a lifespan, a dependency, and answers that keep nobody waiting.

    app = FastAPI(lifespan=asyncq_lifespan(broker))

    @app.post("/sums")
    async def sums(a: int, b: int, response: Response) -> int | Pending:
        handle = await add.kiq(a, b)
        return await value_or_pending(handle, response, timeout=2, url=f"/sums/{handle.id}")

docs/fastapi.md has more.
"""

from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Annotated, Any, TypeVar, cast

from fastapi import Depends, Response
from pydantic import BaseModel
from starlette.requests import HTTPConnection
from starlette.types import Lifespan

from asyncq.broker import Broker
from asyncq.errors import ConfigurationError, ResultTimeout
from asyncq.tasks import Handle

R = TypeVar("R")

_STATE = "asyncq_broker"


def asyncq_lifespan(broker: Broker, inner: Lifespan[Any] | None = None) -> Lifespan[Any]:
    """Return a lifespan for `FastAPI(lifespan=...)` that opens the broker at the start and closes it at the end.

    Args:
        broker: opened before the first request; the application does not start while its server cannot be reached.
        inner: a lifespan of your own, which runs while the broker is open; what it yields goes to `request.state` as
            ever. `asyncq_lifespan(other_broker)` is one too.
    """

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncGenerator[Mapping[str, Any]]:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(broker)
            state = await stack.enter_async_context(inner(app)) if inner is not None else None
            yield {**(state or {}), _STATE: broker}

    return lifespan


def _broker_of(connection: HTTPConnection) -> Broker:
    broker: Broker | None = getattr(connection.state, _STATE, None)
    if broker is None:
        raise ConfigurationError(
            "This application was started without a broker: FastAPI(lifespan=asyncq_lifespan(broker)). "
            "In tests, `with TestClient(app):` runs the lifespan, a bare TestClient(app) does not."
        )
    return broker


BrokerDep = Annotated[Broker, Depends(_broker_of)]
"""The type of a parameter that receives the application's broker, in a request or a websocket."""


class Pending(BaseModel):
    """The answer (202) for a call whose value was not there in time.

    Attributes:
        id: the call's.
        url: where to ask for it later.
    """

    id: str
    url: str


async def value_or_pending(handle: Handle[R], response: Response, *, timeout: float, url: str) -> R | Pending:
    """Return what the task returns if that is soon; else answer 202, with the id and a place to ask later.

    The call goes on in either case.

    Args:
        handle: the call.
        response: the request's own response, a parameter `response: Response` of the handler: 202 and the header
            `Location` are set on it.
        timeout: seconds to wait.
        url: where the client may ask for the value later.

    Raises:
        Exception: what the task raised.
        ResultMissing: no result is kept.
    """
    try:
        result = await handle.result(timeout)
    except ResultTimeout:
        response.status_code = 202
        response.headers["Location"] = url
        return Pending(id=handle.id, url=url)
    if result.error is not None:
        raise result.error
    return cast("R", result.value)
