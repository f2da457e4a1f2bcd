"""The glue for FastAPI, in an application that runs its worker itself."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, get_args

import httpx
import pytest
from fastapi import FastAPI, Request, Response, WebSocket
from starlette.types import Message, Receive, Scope, Send

from asyncq import ConfigurationError, MemoryBroker
from asyncq.integrations.fastapi import BrokerDep, Pending, asyncq_lifespan, value_or_pending
from tests.working import working


class Embedded:
    """An application with a worker in its own process, and what its tests look at."""

    def __init__(self, namespace: str) -> None:
        self.broker = MemoryBroker(namespace=namespace)
        self.app = FastAPI(lifespan=asyncq_lifespan(self.broker, self._lifespan))
        self.lifespans: list[str] = []
        self.may_end: asyncio.Event | None = None

    @asynccontextmanager
    async def _lifespan(self, app: FastAPI) -> AsyncIterator[Mapping[str, Any]]:
        self.may_end = asyncio.Event()
        self.lifespans.append(f"began with an open broker: {self.broker.is_open()}")
        async with working(self.broker):
            yield {"motto": "festina lente"}
        self.lifespans.append(f"ended with an open broker: {self.broker.is_open()}")


@asynccontextmanager
async def serving(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """Do what a server does: run the lifespan, and hand its state to every request."""
    async with app.router.lifespan_context(app) as state, calling(app, dict(state or {})) as client:
        yield client


@asynccontextmanager
async def calling(app: FastAPI, state: Mapping[str, Any] | None = None) -> AsyncIterator[httpx.AsyncClient]:
    """Call an application whose lifespan is nobody's affair here."""

    async def with_state(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, "state": dict(state or {})}, receive, send)

    async with httpx.AsyncClient(transport=httpx.ASGITransport(with_state), base_url="http://test") as client:
        yield client


@pytest.fixture
def embedded(namespace: str) -> Embedded:
    """An application that nobody has started yet."""
    return Embedded(namespace)


async def test_the_lifespan_opens_the_broker_and_closes_it(embedded: Embedded) -> None:
    """The broker is open before the first request and closed at the end, and a second start works like the first."""

    @embedded.app.get("/")
    async def is_open(broker: BrokerDep) -> list[bool]:
        return [broker is embedded.broker, broker.is_open()]

    for _ in range(2):
        async with serving(embedded.app) as client:
            assert (await client.get("/")).json() == [True, True]
    assert not embedded.broker.is_open()


async def test_a_lifespan_of_ones_own_runs_while_the_broker_is_open(embedded: Embedded) -> None:
    """The inner lifespan begins and ends with the broker open, and what it yields reaches the requests."""

    @embedded.app.get("/motto")
    async def motto(request: Request) -> str:
        return request.state.motto

    async with serving(embedded.app) as client:
        assert (await client.get("/motto")).json() == "festina lente"
    assert embedded.lifespans == ["began with an open broker: True", "ended with an open broker: True"]


async def test_two_brokers_are_two_lifespans(namespace: str) -> None:
    """Lifespans nest, so that an application may open several brokers; the dependency gives the outer one."""
    outer, inner = MemoryBroker(namespace=f"{namespace}-outer"), MemoryBroker(namespace=f"{namespace}-inner")
    app = FastAPI(lifespan=asyncq_lifespan(outer, asyncq_lifespan(inner)))

    @app.get("/")
    async def both(broker: BrokerDep) -> list[bool]:
        return [broker is outer, outer.is_open(), inner.is_open()]

    async with serving(app) as client:
        assert (await client.get("/")).json() == [True, True, True]


async def test_the_broker_reaches_a_websocket(embedded: Embedded) -> None:
    """BrokerDep works in a websocket as it does in a request."""

    @embedded.app.websocket("/ws")
    async def talk(websocket: WebSocket, broker: BrokerDep) -> None:
        await websocket.accept()
        await websocket.send_text(broker.namespace)

    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        sent.append(message)

    async with embedded.app.router.lifespan_context(embedded.app) as state:
        scope = {"type": "websocket", "path": "/ws", "headers": [], "query_string": b"", "state": dict(state or {})}
        await embedded.app(scope, receive, send)
    assert [message.get("text") for message in sent if message["type"] == "websocket.send"] == [
        embedded.broker.namespace
    ]


async def test_the_broker_can_be_another_one_in_tests(embedded: Embedded, namespace: str) -> None:
    """A test may give the handlers another broker, as FastAPI's users are used to, without any lifespan."""
    other = MemoryBroker(namespace=f"{namespace}-other")

    @embedded.app.get("/")
    async def which(broker: BrokerDep) -> str:
        return broker.namespace

    _, dependency = get_args(BrokerDep)
    embedded.app.dependency_overrides[dependency.dependency] = lambda: other
    async with calling(embedded.app) as client:
        assert (await client.get("/")).json() == other.namespace


async def test_a_missing_lifespan_is_named(namespace: str) -> None:
    """Without the lifespan, BrokerDep says what to write and what to look for in a test."""
    app = FastAPI()

    @app.get("/")
    async def which(broker: BrokerDep) -> str:
        return broker.namespace

    async with calling(app) as client:
        with pytest.raises(ConfigurationError, match=r"lifespan=asyncq_lifespan\(broker\).*with TestClient\(app\):"):
            await client.get("/")


def with_sums(embedded: Embedded) -> None:
    """Give the application a task, a handler that awaits it within the request, and one to ask later."""
    broker = embedded.broker

    @broker.task(retry=None)
    async def add(a: int, b: int) -> dict[str, int]:
        if a < 0:
            raise ValueError(f"{a} is negative")
        if a > 100:
            assert embedded.may_end is not None
            await embedded.may_end.wait()
        return {"sum": a + b}

    @embedded.app.post("/sums")
    async def sums(a: int, b: int, response: Response, patience: float = 5) -> dict[str, int] | Pending:
        handle = await add.kiq(a, b)
        return await value_or_pending(handle, response, timeout=patience, url=f"/sums/{handle.id}")

    @embedded.app.get("/sums/{call_id}")
    async def late_sum(call_id: str) -> dict[str, int]:
        assert embedded.may_end is not None
        embedded.may_end.set()
        return await add.handle(call_id)


async def test_a_value_in_time_is_the_answer(embedded: Embedded) -> None:
    """What the task returns within the time limit is the response, with the handler's own status."""
    with_sums(embedded)
    async with serving(embedded.app) as client:
        response = await client.post("/sums", params={"a": 1, "b": 2})
    assert (response.status_code, response.json()) == (200, {"sum": 3})


async def test_a_late_value_is_answered_with_a_place_to_ask(embedded: Embedded) -> None:
    """When the time is up the response is 202 with id and Location; the call goes on and its value is found there."""
    with_sums(embedded)
    async with serving(embedded.app) as client:
        response = await client.post("/sums", params={"a": 1000, "b": 2, "patience": 0.01})
        pending = response.json()
        assert response.status_code == 202
        assert pending == {"id": pending["id"], "url": f"/sums/{pending['id']}"}
        assert response.headers["Location"] == pending["url"]
        assert (await client.get(pending["url"])).json() == {"sum": 1002}


async def test_a_failure_is_raised_in_the_handler(embedded: Embedded) -> None:
    """What the task raises is raised where the handler awaits it, with the remote traceback as a note."""
    with_sums(embedded)
    async with serving(embedded.app) as client:
        with pytest.raises(ValueError, match="-1 is negative") as raised:
            await client.post("/sums", params={"a": -1, "b": 2})
    assert any("Remote traceback" in note for note in raised.value.__notes__)


def test_both_answers_are_documented(embedded: Embedded) -> None:
    """The OpenAPI document describes the value and the pending answer, because the handler's type names both."""
    with_sums(embedded)
    schema = embedded.app.openapi()["paths"]["/sums"]["post"]["responses"]["200"]["content"]["application/json"][
        "schema"
    ]
    assert {"$ref": "#/components/schemas/Pending"} in schema["anyOf"]


def test_fastapi_is_imported_only_when_asked_for() -> None:
    """Neither asyncq nor its package of integrations imports FastAPI."""
    program = "import sys, asyncq, asyncq.integrations; sys.exit('fastapi' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
