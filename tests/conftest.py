"""What every test may ask for, and what every test is held to."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from contextlib import ExitStack
from functools import partial, wraps
from pathlib import Path
from uuid import uuid4

import pytest

from tests.cli.programs import StartProgram, programs
from tests.leftovers import Running
from tests.rabbitmq_servers import RabbitMQServer, StartRabbitMQ
from tests.redis_keys import assert_no_keys_left
from tests.servers import RedisServer, StartRedis
from tests.topologies import TOPOLOGIES, Masters, RedisCluster, Sentinels, masters_of

try:
    from uvloop import new_event_loop
except ImportError:  # it does not exist everywhere, and asyncq does without
    from asyncio import new_event_loop

NODE_TIMEOUT = 240
"""Seconds of a test on RabbitMQ, unless it has more: a node starts in four seconds, or in thirty on a busy machine."""


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run the tests on the loop that workers run on."""
    return {"worker's": new_event_loop}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Bound the time of every coroutine test, so that one that hangs fails where it waits, and the rest still run.

    pytest-timeout is the second line, for what blocks the loop or swallows the cancellation: it shows all stacks and
    ends the run. (Its other way, an exception from a signal handler, does not get out of uvloop.)
    """
    for item in items:
        marker = item.get_closest_marker("timeout")
        seconds = float(marker.args[0] if marker else item.config.getini("timeout"))
        if "rabbitmq" in item.nodeid and seconds < NODE_TIMEOUT:
            seconds = NODE_TIMEOUT
            item.add_marker(pytest.mark.timeout(seconds), append=False)
        if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj):
            item.obj = bounded(item.obj, 0.9 * seconds)


def bounded(test: Callable[..., Awaitable[None]], seconds: float) -> Callable[..., Awaitable[None]]:
    """Give a test so much time."""

    @wraps(test)
    async def run(*args: object, **kwargs: object) -> None:
        async with asyncio.timeout(seconds):
            await test(*args, **kwargs)

    return run


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Fail a test that does not open with its claim."""
    if isinstance(item, pytest.Function) and not item.function.__doc__:
        pytest.fail("A test opens with a docstring of one sentence: what it claims.", pytrace=False)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Write half characters in what a test has logged as escapes: a report with them can't go to another process."""
    report = yield
    report.sections = [(title, text.encode(errors="backslashreplace").decode()) for title, text in report.sections]
    return report


@pytest.fixture
def kept_processes() -> set[int]:
    """What may outlive the test: a server that it has started again, and that others share."""
    return set()


@pytest.fixture(autouse=True)
async def nothing_left_behind(kept_processes: set[int]) -> AsyncIterator[None]:
    """Fail a test that leaves a task, a thread or a process running."""
    before = Running.now()
    yield
    before.processes.update(kept_processes)
    left = Running.now().left(before)
    assert not left, f"Left behind: {'; '.join(left)}"


@pytest.fixture
def namespace() -> str:
    """A namespace that no other test has."""
    return f"test-{uuid4().hex[:12]}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of the test's own, in which programs run; who has an application writes it there."""
    return tmp_path


@pytest.fixture
async def asyncq(folder: Path) -> AsyncIterator[StartProgram]:
    """Start `asyncq ARGUMENTS...` in that folder; what still runs is killed at the end."""
    async with programs(folder) as start:
        yield start


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis that all tests share: leave it running, and write under `namespace` only."""
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """The URL of the shared Redis."""
    return redis_server.url


@pytest.fixture(scope="session")
def redis_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    """A cluster that all tests share: leave its nodes running, and write under `namespace` only."""
    with RedisCluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def sentinels(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sentinels]:
    """A master with its sentinels that all tests share: leave them running, and write under `namespace` only."""
    with Sentinels(tmp_path_factory.mktemp("sentinels")) as sentinels:
        yield sentinels


@pytest.fixture(params=TOPOLOGIES)
def masters(request: pytest.FixtureRequest, tmp_path: Path, namespace: str) -> Iterator[Masters]:
    """A cluster, and a master with sentinels, that the test may break."""
    with masters_of(request.param, tmp_path, namespace) as masters:
        yield masters


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[StartRedis]:
    """Start a Redis for this test alone, which it may stop, kill and pause: `own_redis(appendonly=True)`."""
    with ExitStack() as servers:

        def start(*arguments: str, appendonly: bool = False) -> RedisServer:
            server = RedisServer(tmp_path / f"redis-{uuid4().hex[:8]}", *arguments, appendonly=appendonly)
            return servers.enter_context(server)

        yield start


@pytest.fixture(scope="session")
def rabbitmq_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMQServer]:
    """A RabbitMQ that all tests share: leave it running, and declare under `namespace` only."""
    with RabbitMQServer(tmp_path_factory.mktemp("rabbitmq")) as server:
        server.control("await_startup")  # it listens a moment before it can be asked
        yield server


@pytest.fixture
def rabbitmq_url(rabbitmq_server: RabbitMQServer) -> str:
    """The URL of the shared RabbitMQ."""
    return rabbitmq_server.url


@pytest.fixture
def own_rabbitmq(tmp_path: Path) -> Iterator[StartRabbitMQ]:
    """Start a RabbitMQ for this test alone, which it may stop, kill and pause: `own_rabbitmq("heartbeat = 5")`."""
    with ExitStack() as servers:

        def start(*lines: str) -> RabbitMQServer:
            return servers.enter_context(RabbitMQServer(tmp_path / f"rabbitmq-{uuid4().hex[:8]}", *lines))

        yield start


@pytest.fixture
def no_keys_left(redis_url: str, namespace: str) -> Callable[..., Awaitable[None]]:
    """Fail on keys of this test without a TTL in the shared Redis.

    `await no_keys_left(allowed=["{namespace}:queues"])` lets pass what is documented to stay.
    """
    return partial(assert_no_keys_left, redis_url, namespace)
