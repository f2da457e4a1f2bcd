"""The command line with RabbitMQ: what it cannot tell without a store, and what it says when something is wrong."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from asyncq import Broker
from tests.cli.programs import Program, StartProgram
from tests.cli.shop import meet, task, write_app
from tests.rabbitmq_servers import RabbitMQServer, StartRabbitMQ
from tests.servers import HOST, free_port

ASKING = (["queues"], ["workers"], ["dead", "list"], ["check"])

on_rabbitmq = pytest.mark.parametrize("url", ["rabbitmq"], indirect=True)


async def ended(program: Program, code: int) -> str:
    """Wait for its end, and return what it has said: nothing of it is a traceback."""
    assert await program.exits() == code, program.output
    assert "Traceback" not in program.output
    return program.output


@on_rabbitmq
async def test_queues_without_a_store(asyncq: StartProgram, shop: Broker, folder: Path) -> None:
    """What waits and what is dead is counted; what nobody remembers is `-`, or null, and never 0."""
    worker = await asyncq("worker", "shop:broker", "--queue", "default")
    await worker.says("Ready.")
    await meet(shop, folder)
    await task(shop, "mail.send", queue="mail").kiq()
    await task(shop, "mail.send", queue="mail").options(delay=60).kiq()

    output = await ended(await asyncq("queues", "shop:broker"), 0)
    header, default, mail, remark = output.splitlines()
    assert header.split() == ["QUEUE", "READY", "OLDEST", "WAITING", "SCHEDULED", "RUNNING", "DEAD", "WORKERS"]
    assert default.split() == ["default", "0", "-", "0", "-", "-", "0", "-"]
    assert mail.split() == ["mail", "1", "-", "0", "-", "-", "0", "-"]
    assert remark.startswith("What stands as - is not known: this broker has no memory of calls.")

    program = await asyncq("queues", "shop:broker", "--json")
    assert await program.exits() == 0
    unknown = dict.fromkeys(("scheduled", "running", "oldest", "workers"))
    assert json.loads(program.output.splitlines()[1]) == {
        "queue": "mail",
        "ready": 1,
        "waiting": 0,
        "dead": 0,
        **unknown,
    }


@on_rabbitmq
async def test_workers_without_a_store(asyncq: StartProgram) -> None:
    """Nobody knows the workers: that is said, with what to add, and not that there are none."""
    output = await ended(await asyncq("workers", "shop:broker"), 2)
    assert "no memory of calls" in output
    assert 'RabbitMQBroker(url, store="redis://...")' in output
    await ended(await asyncq("workers", "shop:broker", "--check"), 2)


async def test_no_server(asyncq: StartProgram, folder: Path, namespace: str) -> None:
    """Without a server each command ends with 1, and names all nodes that it tried, but no password."""
    ports = free_port(), free_port()
    for store in (None, "sqlite:///facts.db"):
        write_app(
            folder,
            ",".join(f"amqp://me:secret@{HOST}:{port}" for port in ports),
            namespace,
            store=store,
            connect_timeout=0.5,
        )
        for command in ASKING:
            if store or command != ["workers"]:
                output = await ended(await asyncq(*command, "shop:broker"), 1)
                assert all(f"{HOST}:{port}: Connection" in output for port in ports)
                assert "secret" not in output


async def test_no_store(asyncq: StartProgram, folder: Path, namespace: str, rabbitmq_url: str) -> None:
    """With a store that does not answer each command ends with 1, and says that it is the store."""
    port = free_port()
    write_app(folder, rabbitmq_url, namespace, store=f"redis://{HOST}:{port}")
    for command in ASKING:
        assert f"Redis at {HOST}:{port} does not answer" in await ended(await asyncq(*command, "shop:broker"), 1)


@pytest.fixture
async def web() -> AsyncIterator[str]:
    """Where something answers that is no RabbitMQ."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await reader.read()
        writer.close()

    async with await asyncio.start_server(answer, HOST, port := free_port()):
        yield f"{HOST}:{port}"


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("amqp://guest:wrong@{rabbitmq}", "ACCESS_REFUSED"),
        ("amqp://{rabbitmq}/no%2Fwhere", "vhost no/where not found"),
        ("amqp://{web}", "What answers there is no RabbitMQ"),
        ("amqps://{rabbitmq}", "WRONG_VERSION_NUMBER"),
        ("amqp://guest:wrong@{web},amqp://guest:wrong@{rabbitmq}", "ACCESS_REFUSED"),
    ],
)
async def test_a_wrong_url(
    asyncq: StartProgram,
    folder: Path,
    namespace: str,
    rabbitmq_server: RabbitMQServer,
    web: str,
    wrong: str,
    words: str,
) -> None:
    """What no retry will mend ends a worker and each command with one sentence, in the server's words."""
    write_app(folder, wrong.format(rabbitmq=f"{HOST}:{rabbitmq_server.port}", web=web), namespace)
    for command, code in ((["worker"], 2), (["queues"], 2), (["dead", "list"], 2), (["check"], 1)):
        output = await ended(await asyncq(*command, "shop:broker"), code)
        assert words in output
        assert "guest:wrong" not in output


async def test_a_password_is_changed(
    asyncq: StartProgram, folder: Path, namespace: str, own_rabbitmq: StartRabbitMQ
) -> None:
    """A worker whose password does not hold any more ends with that, after a try or two."""
    server = own_rabbitmq()
    await asyncio.to_thread(server.control, "await_startup")
    await asyncio.to_thread(server.control, "add_user", "me", "old")
    await asyncio.to_thread(server.control, "set_permissions", "me", ".*", ".*", ".*")
    write_app(folder, server.url.replace("guest:guest", "me:old"), namespace)
    worker = await asyncq("worker", "shop:broker")
    await worker.says("Ready.")
    await asyncio.to_thread(server.control, "change_password", "me", "new")
    await asyncio.to_thread(server.close_connections)
    assert "ACCESS_REFUSED" in await ended(worker, 2)
    assert 1 <= server.log().count("invalid credentials") < 5


async def test_the_server_is_killed(
    asyncq: StartProgram, folder: Path, namespace: str, own_rabbitmq: StartRabbitMQ
) -> None:
    """A worker whose server is killed says it in one line, and in one that it is back; aiormq says nothing."""
    server = own_rabbitmq()
    write_app(folder, server.url, namespace)
    worker = await asyncq("worker", "shop:broker")
    await worker.says("Ready.")
    before = len(worker.output)
    await asyncio.to_thread(server.flush)
    await asyncio.to_thread(server.restart)
    await worker.says(f"Connected to RabbitMQ at {HOST}:{server.port} again.", timeout=20)
    assert "aiormq" not in worker.output
    assert "Traceback" not in worker.output
    lost, back = [line for line in worker.output[before:].splitlines() if "asyncq.rabbitmq" in line]
    assert f"WARNING asyncq.rabbitmq: The connection to RabbitMQ at {HOST}:{server.port} has ended." in lost
    assert "INFO asyncq.rabbitmq: Connected" in back


@pytest.mark.parametrize("url", ["rabbitmq", "rabbitmq with a store"], indirect=True)
async def test_tasks_that_take_too_long(
    asyncq: StartProgram, folder: Path, url: str, namespace: str, options: Mapping[str, Any]
) -> None:
    """A worker that starts names the tasks that may take longer than consumer_timeout, unless there is a store."""
    write_app(folder, url, namespace, consumer_timeout=0.05, **options)
    worker = await asyncq("worker", "shop:broker", "plant")
    await worker.says("Ready.")
    warning = "WARNING asyncq.worker: Tasks may run for longer than RabbitMQ's consumer_timeout, 0.05 s: stick (timeout"
    assert (warning in worker.output) is (not options)
