"""The broker: opening, loops, declaring, refusing."""

import asyncio
import logging
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import asyncq
from asyncq import (
    Broker,
    BrokerUnavailable,
    ConfigurationError,
    Context,
    Depends,
    DuplicateTask,
    MemoryBroker,
    PublishError,
    PublishRefused,
    Queue,
    ResultTimeout,
    TaskOptions,
    broker_from_url,
)
from asyncq.broker.subscription import SAFETY_SECONDS
from asyncq.broker.urls import hidden_password
from tests.working import working


def test_importing_loads_no_client_library() -> None:
    """`import asyncq` loads no client library, and naming one broker loads no other's."""
    program = (
        "import sys, asyncq; asyncq.MemoryBroker; asyncq.SQLiteBroker\n"
        "print([name for name in ('redis', 'aiormq', 'fastapi', 'pydantic', 'click') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_missing_extra() -> None:
    """Where a client library is missing, the error holds the line to type."""
    program = (
        "import sys; sys.modules['redis'] = None\n"
        "import asyncq\n"
        "try: asyncq.RedisBroker\n"
        "except asyncq.MissingExtra as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert 'pip install "asyncq[redis]"' in done.stdout


def test_passwords_are_hidden() -> None:
    """A URL is shown without its password, and so is each of several with commas between them."""
    shown = hidden_password("amqp://me:secret@a:1/vhost,amqps://you:secret@b?token=secret,redis://c")
    assert shown == "amqp://me:***@a:1/vhost,amqps://you:***@b?token=***,redis://c"


def test_rabbitmq_is_named() -> None:
    """RabbitMQ is among the brokers that a URL may name, and says what it cannot do before it is used."""
    with pytest.raises(ConfigurationError, match=r"amqp://, amqps://"):
        broker_from_url("ampq://host")
    assert 'store="redis://' in str(asyncq.RabbitMQBroker("amqp://host").capabilities.without_memory("status()"))


def test_without_a_loop(tmp_path: Path) -> None:
    """A script without a loop publishes and waits, and ends; so does one that goes on to use a loop."""
    script = tmp_path / "script.py"
    script.write_text(
        "import asyncio\n"
        "from asyncq import MemoryBroker, Worker\n"
        "broker = MemoryBroker()\n"
        "class Negative(Exception): ...\n"
        "@broker.task(retry=None)\n"
        "async def add(a: int, b: int) -> int:\n"
        "    if a < 0: raise Negative(a)\n"
        "    return a + b\n"
        "if __name__ == '__main__':\n"
        "    handle = add.kiq_sync(1, 2)\n"
        "    print(add.name, handle.is_new)\n"
        "    asyncio.run(Worker(broker, burst=True).run())\n"
        "    print(handle.result_sync(timeout=5).value)\n"
        "    handle = add.kiq_sync(-1, 2)\n"
        "    asyncio.run(Worker(broker, burst=True).run())\n"
        "    print(repr(handle.result_sync(timeout=5).error))\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["script:add", "True", "3", "Negative(-1)"]


async def test_sync_forms_on_a_loop() -> None:
    """On a thread that runs a loop the sync forms raise, naming the awaitable form."""
    broker = MemoryBroker()

    @broker.task
    async def nothing() -> None: ...

    with pytest.raises(ConfigurationError, match=r"Write await task\.kiq"):
        nothing.kiq_sync()
    async with broker:
        handle = await nothing.kiq()
        with pytest.raises(ConfigurationError, match=r"Write await handle\.result"):
            handle.result_sync()


def test_a_closed_loop() -> None:
    """A broker whose loop was closed opens anew on the next one, with its messages and handles."""
    broker = MemoryBroker()

    @broker.task
    async def add(a: int, b: int) -> int:
        return a + b

    async def publish() -> str:
        return (await add.kiq(1, 2)).id

    async def work() -> int:
        async with working(broker, burst=True):
            pass
        return await add.handle(id)

    id = asyncio.run(publish())
    assert asyncio.run(work()) == 3


async def test_a_second_living_loop() -> None:
    """Used from a second living loop, a broker says that it lives on one at a time."""
    async with MemoryBroker() as broker:

        @broker.task
        async def nothing() -> None: ...

        def elsewhere() -> None:
            asyncio.run(use())

        async def use() -> None:
            await nothing.kiq()

        with pytest.raises(ConfigurationError, match="another event loop that is still alive"):
            await asyncio.to_thread(elsewhere)


async def test_it_opens_itself() -> None:
    """A broker that is used before it was opened opens itself, once for all who use it at the same time."""
    broker = MemoryBroker()

    @broker.task
    async def nothing() -> None: ...

    handles = await asyncio.gather(*(nothing.kiq() for _ in range(10)))
    assert len({handle.id for handle in handles}) == 10
    assert broker.is_open()
    await broker.close()
    assert not broker.is_open()


async def test_closed_while_somebody_waits() -> None:
    """Closing a broker ends the waits in it with an error; its handles can be awaited again once it is open."""
    broker = MemoryBroker()

    @broker.task
    async def add(a: int, b: int) -> int:
        return a + b

    async with broker:
        await add.options(id="first").kiq(0, 0)
        with pytest.raises(ResultTimeout):
            await add.handle("first").result(timeout=0.01)
        handle = await add.kiq(1, 2)
        waiting = asyncio.create_task(handle.result())
        assert (await anext(aiter(handle.events()))).result is None
    with pytest.raises(BrokerUnavailable, match="closed while a result was waited for"):
        await waiting
    async with broker, asyncio.timeout(SAFETY_SECONDS - 1), working(broker, burst=True):
        assert await handle == 3


async def test_too_large() -> None:
    """A message over the limit is refused before anything is sent; in a batch only that one is."""
    async with MemoryBroker(max_message_size=1_000) as broker:

        @broker.task
        async def echo(text: str) -> str:
            return text

        with pytest.raises(PublishRefused, match="max_message_size"):
            await echo.kiq("x" * 1_000)
        with pytest.raises(PublishError) as caught:
            await broker.kiq_many([echo.message("a"), echo.message("x" * 1_000), echo.message("b")])
        assert list(caught.value.errors) == [1]
        assert sorted(caught.value.handles) == [0, 2]


async def test_bounds_of_a_queue() -> None:
    """A declared queue refuses priorities over its own, and messages over its length."""
    async with MemoryBroker(queues=[Queue("mail", max_priority=3, max_length=2)]) as broker:

        @broker.task(queue="mail")
        async def send() -> None: ...

        with pytest.raises(PublishRefused, match="priorities up to 3"):
            await send.options(priority=4).kiq()
        await send.kiq()
        await send.kiq()
        with pytest.raises(PublishRefused, match="full"):
            await send.kiq()


async def test_a_queue_nobody_names(caplog: pytest.LogCaptureFixture) -> None:
    """Publishing to a queue that no declared task names warns once."""
    async with MemoryBroker() as broker:

        @broker.task(queue="mail")
        async def send() -> None: ...

        await send.kiq()
        assert not caplog.records
        for _ in range(3):
            await send.options(queue="mial").kiq()
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "'mial'" in caplog.text


def test_two_tasks_of_one_name() -> None:
    """Two functions cannot have one name; the same function may be declared twice."""
    broker = MemoryBroker()

    @broker.task(name="add")
    async def add() -> None: ...

    with pytest.raises(DuplicateTask, match=r"'add'.*test_broker\.py"):

        @broker.task(name="add")
        async def other() -> None: ...

    assert broker.task(name="add")(add.function).name == "add"


def test_options_that_do_not_exist() -> None:
    """An unknown option is refused with the name that was meant; a senseless value with what makes sense."""
    broker = MemoryBroker()

    async def nothing() -> None: ...

    with pytest.raises(ConfigurationError, match=r"no option 'timout'\. Near it: 'timeout'"):
        broker.task(timout=3)  # pyright: ignore[reportCallIssue] - the very mistake
    with pytest.raises(ConfigurationError, match="priority is a whole number from 0 to 9"):
        broker.task(priority=10)(nothing)
    with pytest.raises(ConfigurationError, match="queue's name"):
        broker.task(queue="no spaces")(nothing)
    with pytest.raises(ConfigurationError, match="timeout= is a number of seconds"):
        broker.task(timeout=-1)(nothing)
    with pytest.raises(ConfigurationError, match="delay= and at="):
        broker.task(nothing).options(delay=1, at=datetime.now(UTC))


def test_what_is_no_task() -> None:
    """A generator, a class, and a parameter that cannot be filled are refused where they are declared."""
    broker = MemoryBroker()

    with pytest.raises(ConfigurationError, match="generator"):

        @broker.task
        def stream() -> object:
            yield 1

    with pytest.raises(ConfigurationError, match="takes a function"):
        broker.task(int)

    with pytest.raises(ConfigurationError, match="only `Context` can be filled"):

        @broker.task
        async def wants(number: int = Depends()) -> None: ...

    @broker.task
    async def fine(ctx: Context = Depends()) -> None: ...

    with pytest.raises(TypeError, match="ctx"):
        fine.message(ctx=None)  # pyright: ignore[reportArgumentType] - the very mistake


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("rediss", "names no broker"),
        ("redsi://localhost", "Near it: 'redis'"),
        ("sqlite://file.db", "three slashes"),
        ("http://user:secret@host/", "names no broker"),
    ],
)
def test_urls_that_name_no_broker(url: str, said: str) -> None:
    """A URL that names no broker says what would; a password in it is not repeated."""
    with pytest.raises(ConfigurationError, match=said) as caught:
        broker_from_url(url)
    assert "secret" not in str(caught.value)


def test_urls(tmp_path: Path) -> None:
    """A URL names a broker, its options pass through, and its password is hidden where it is shown."""
    assert isinstance(broker_from_url("memory://", namespace="shop"), MemoryBroker)
    assert broker_from_url("memory://", namespace="shop").namespace == "shop"
    assert broker_from_url(f"sqlite:///{tmp_path}/a.db").describe() == f"sqlite:///{tmp_path}/a.db"
    shown = broker_from_url("redis://user:secret@localhost:6379/3").describe()
    assert shown == "redis://user:***@localhost:6379/3"


def test_only_rabbitmq_takes_a_store(tmp_path: Path) -> None:
    """A URL's broker takes `store=` where it has no memory of its own; others refuse it, and show no password."""
    broker = broker_from_url("amqp://user:secret@host", store="redis://:secret@host/1")
    assert broker.describe() == "amqp://user:***@host with store redis://:***@host/1"
    assert not broker_from_url("amqp://host", store=None).capabilities.has_memory
    assert broker_from_url(f"sqlite:///{tmp_path}/a.db", store=None).capabilities.has_memory
    with pytest.raises(ConfigurationError, match="store= is for amqp://") as caught:
        broker_from_url("redis://:secret@host", store="sqlite:///a.db")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "options", [{"namespace": "a:b"}, {"namespace": ""}, {"command_timeout": 0}, {"max_message_size": -1}]
)
def test_broker_options(options: dict[str, Any]) -> None:
    """Options of a broker that make no sense are refused at once."""
    with pytest.raises(ConfigurationError):
        MemoryBroker(**options)


def test_defaults_of_a_broker() -> None:
    """A broker's defaults hold for every task that does not say otherwise."""
    broker: Broker = MemoryBroker(defaults=TaskOptions(queue="mail", timeout=7))

    @broker.task(timeout=None)
    async def patient() -> None: ...

    @broker.task
    async def plain() -> None: ...

    assert (plain.declared.timeout, plain.queue) == (7, "mail")
    assert (patient.declared.timeout, patient.queue) == (None, "mail")
