"""What a check says of a server, of what is declared there, and of the rights of its user."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from asyncq import Queue, RabbitMQBroker, Worker
from asyncq.errors import ConfigurationError
from asyncq.findings import Finding, Severity
from asyncq.rabbitmq.names import Names
from tests.rabbitmq.publishers import bare_channel, declare
from tests.rabbitmq_servers import RabbitMQServer, StartRabbitMQ
from tests.servers import HOST, free_port

User = Callable[[str, str, str], str]


@pytest.fixture
async def user(rabbitmq_server: RabbitMQServer, namespace: str) -> AsyncIterator[User]:
    """Make a user with these rights to configure, write and read; returns the URL for it."""
    rabbitmq_server.control("add_user", namespace, "secret")

    def make(configure: str, write: str, read: str) -> str:
        rabbitmq_server.control("set_permissions", namespace, configure, write, read)
        return rabbitmq_server.url.replace("guest:guest", f"{namespace}:secret")

    yield make
    rabbitmq_server.control("delete_user", namespace)


async def found(broker: RabbitMQBroker, about: str) -> list[Finding]:
    """Return what a check says about something."""
    return [finding for finding in await broker.check() if finding.about == about]


async def use(url: str, namespace: str, **options: Any) -> None:
    """Publish a call to each queue, once at once and once for later, and so have everything declared."""
    async with RabbitMQBroker(url, namespace=namespace, **options) as broker:
        for queue in ("default", *broker.queues):
            task = broker.task(name=f"touch.{queue}", queue=queue)(touch)
            await task.kiq()
            await task.options(delay=3_000_000).kiq()


def import_all(server: RabbitMQServer, broker: RabbitMQBroker, folder: Path) -> None:
    """Give a server the definitions of an application, as an administrator does."""
    file = folder / "definitions.json"
    file.write_text(broker.definitions())
    server.control("import_definitions", str(file))


async def touch() -> None:
    """Do nothing."""


async def test_a_fresh_server(rabbitmq_server: RabbitMQServer, namespace: str) -> None:
    """A server on which nothing is declared yet is fine: its version is told, and nothing is made by looking."""
    broker = RabbitMQBroker(rabbitmq_server.url, namespace=namespace)
    findings = await broker.check()
    server, topology, alarm, store = findings
    version = await asyncio.to_thread(rabbitmq_server.control, "version")
    assert server == Finding(Severity.OK, "server", f"RabbitMQ {version} at {HOST}:{rabbitmq_server.port}.")
    assert topology.text.startswith("0 of ")
    assert (alarm.severity, store.severity) == (Severity.OK, Severity.NOTE)
    assert all(finding.is_fine for finding in findings)
    assert not broker.is_open()
    assert not [name for name in await asyncio.to_thread(rabbitmq_server.queues) if namespace in name]


async def test_what_is_missing(rabbitmq_server: RabbitMQServer, namespace: str, tmp_path: Path) -> None:
    """With declare=False each exchange and queue that is missing is named; the definitions have them all."""
    broker = RabbitMQBroker(rabbitmq_server.url, namespace=namespace, declare=False, queues=[Queue("mail")])
    (missing,) = await found(broker, "topology")
    assert missing.severity is Severity.ERROR
    assert "`asyncq check APP --definitions`" in missing.text
    names = Names(namespace)
    assert any(names.dead_letters("mail") in detail for detail in missing.details)
    await asyncio.to_thread(import_all, rabbitmq_server, broker, tmp_path)
    (topology,) = await found(broker, "topology")
    assert topology.severity is Severity.OK
    (topology,) = await found(
        RabbitMQBroker(rabbitmq_server.url, namespace=namespace, queues=[Queue("mail")]), "topology"
    )
    assert topology.text.startswith("All ")


@pytest.mark.parametrize(("declares", "severity"), [(True, Severity.ERROR), (False, Severity.WARNING)])
async def test_what_differs(rabbitmq_url: str, namespace: str, declares: bool, severity: Severity) -> None:
    """A queue with other arguments is named with both values; it is an error for who will declare it."""
    await use(rabbitmq_url, namespace)
    async with bare_channel(rabbitmq_url) as channel:
        await channel.queue_delete(Names(namespace).queue("default"))
    await declare(rabbitmq_url, Names(namespace).queue("default"), {"x-delivery-limit": 3})
    *_, differing = await found(RabbitMQBroker(rabbitmq_url, namespace=namespace, declare=declares), "topology")
    assert differing.severity is severity
    assert f"queue '{Names(namespace).queue('default')}' with other arguments" in differing.text


async def test_what_came_due_for_no_queue(rabbitmq_url: str, namespace: str) -> None:
    """Calls that came due for a queue that was deleted are kept, and told of."""
    await use(rabbitmq_url, namespace)
    names = Names(namespace)
    async with bare_channel(rabbitmq_url) as channel:
        await channel.basic_publish(b"x", exchange=names.stray, routing_key="")
    (stray,) = await found(RabbitMQBroker(rabbitmq_url, namespace=namespace), "stray messages")
    assert stray.severity is Severity.WARNING
    assert stray.text.startswith("1 message")
    assert names.stray in stray.text


async def test_an_alarm(own_rabbitmq: StartRabbitMQ, namespace: str) -> None:
    """A server that is short of memory is an error, though it answers everything else."""
    server = own_rabbitmq()
    await asyncio.to_thread(server.block_publishers)
    broker = RabbitMQBroker(server.url, namespace=namespace, command_timeout=1)
    (alarm,) = await found(broker, "alarm")
    assert alarm.severity is Severity.ERROR
    assert "short of memory or of disk" in alarm.text
    await asyncio.to_thread(server.unblock_publishers)
    (alarm,) = await found(broker, "alarm")
    assert alarm.severity is Severity.OK


async def test_one_of_several_nodes_is_down(rabbitmq_url: str, namespace: str) -> None:
    """Each node is looked at: that one is down is a warning while another answers, an error when none does."""
    down = [f"amqp://{HOST}:{free_port()}" for _ in range(2)]
    dead, living = await found(RabbitMQBroker([down[0], rabbitmq_url], namespace=namespace), "server")
    assert (dead.severity, living.severity) == (Severity.WARNING, Severity.OK)
    servers = await found(RabbitMQBroker(down, namespace=namespace), "server")
    assert [server.severity for server in servers] == [Severity.ERROR] * 2


async def test_rights(rabbitmq_server: RabbitMQServer, namespace: str, user: User, tmp_path: Path) -> None:
    """A user who may not declare, or not publish, is told so; with declare=False only the latter counts."""
    url = await asyncio.to_thread(user, "^$", "^$", ".*")
    (alarm,) = await found(RabbitMQBroker(url, namespace=namespace), "alarm")
    assert (alarm.severity, alarm.text[-12:]) == (Severity.NOTE, "amq.default.")
    await asyncio.to_thread(import_all, rabbitmq_server, RabbitMQBroker(namespace=namespace), tmp_path)
    rights = await found(RabbitMQBroker(url, namespace=namespace), "rights")
    assert [right.severity for right in rights] == [Severity.ERROR] * 2
    assert "may not declare" in rights[0].text
    assert "may not publish" in rights[1].text
    await asyncio.to_thread(user, "^$", f"^asyncq:{namespace}", ".*")
    assert all(finding.is_fine for finding in await RabbitMQBroker(url, namespace=namespace, declare=False).check())


async def test_priorities_and_stores(rabbitmq_url: str, namespace: str, tmp_path: Path) -> None:
    """Queues with priorities are named, and the store is looked at, too."""
    broker = RabbitMQBroker(
        rabbitmq_url, namespace=namespace, queues=[Queue("urgent", max_priority=3)], store=f"sqlite:///{tmp_path}/a.db"
    )
    (priorities,) = await found(broker, "priorities")
    assert priorities.text.endswith("urgent.")
    (file,) = await found(broker, "store: file")
    assert file.severity is Severity.OK
    away = RabbitMQBroker(rabbitmq_url, namespace=namespace, store=f"redis://{HOST}:{free_port()}")
    (store,) = await found(away, "store: server")
    assert store.severity is Severity.ERROR


async def test_least_rights(rabbitmq_server: RabbitMQServer, namespace: str, user: User, tmp_path: Path) -> None:
    """With imported definitions, the documented rights are enough to work, delay, bury and look at letters."""
    mine = f"asyncq:{namespace}"
    url = await asyncio.to_thread(user, f"^{mine}:(reply|looking)", f"^{mine}(:|$)", f"^{mine}:")
    broker = RabbitMQBroker(url, namespace=namespace, declare=False, queues=[Queue("urgent", max_priority=3)])
    await asyncio.to_thread(import_all, rabbitmq_server, broker, tmp_path)

    echo = broker.task(name="echo", queue="urgent")(echoed)
    fail = broker.task(name="fail", retry=None)(failed)
    async with broker:
        worker = Worker(broker, queues={"default": None, "urgent": None})
        working = asyncio.create_task(worker.run())
        assert await (await echo.kiq("now")) == "now"
        assert await (await echo.options(delay=0.2, priority=3).kiq("later")) == "later"
        await echo.options(delay=3_000_000).kiq("much later")
        with pytest.raises(ValueError, match="no"):
            await (await fail.kiq())
        (letter,) = await broker.dead.list()
        await broker.dead.drop(letter.id)
        worker.stop()
        await working
    assert [finding for finding in await broker.check() if not finding.is_fine] == []


async def test_what_is_missing_ends_a_worker(rabbitmq_url: str, namespace: str) -> None:
    """With declare=False a worker, and whoever publishes, is told what is missing and how to get it."""
    broker = RabbitMQBroker(rabbitmq_url, namespace=namespace, declare=False)
    task = broker.task(name="touch")(touch)
    for doing in (Worker(broker).run(), task.kiq()):
        with pytest.raises(ConfigurationError, match="asyncq check APP --definitions") as caught:
            await doing
        assert Names(namespace).queue("default") in str(caught.value)
        assert len(str(caught.value).splitlines()) < 20
    await broker.close()


async def echoed(word: str) -> str:
    """Return it."""
    return word


async def failed() -> None:
    """Fail."""
    raise ValueError("no")
