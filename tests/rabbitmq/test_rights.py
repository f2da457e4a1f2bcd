"""What a user of RabbitMQ may do: the page says how little is enough."""

import asyncio
import re
from pathlib import Path

import pytest

from asyncq import Broker, ConfigurationError, Reject, RetryPolicy, broker_from_url
from tests.rabbitmq_servers import RabbitMQServer
from tests.working import working

PAGE = (Path(__file__).parents[2] / "docs" / "rabbitmq.md").read_text()
DECLARING, DECLARED = re.findall(r"^rabbitmqctl set_permissions asyncq (.+)$", PAGE, re.MULTILINE)
"""What the page grants to who declares, and to whom everything is declared."""


def url_of_user(server: RabbitMQServer, namespace: str, granted: str) -> str:
    """Return the URL of a new user who has these rights, for this namespace instead of the page's."""
    patterns = re.findall(r"'([^']*)'", granted.replace("asyncq:asyncq", f"asyncq:{namespace}"))
    server.control("await_startup")  # it speaks AMQP a moment before
    server.control("add_user", namespace, "secret")
    server.control("set_permissions", namespace, *patterns)
    return server.url.replace("guest:guest", f"{namespace}:secret")


async def use(broker: Broker) -> None:
    """Publish, delay, retry, bury, look at a letter and let it run again."""
    tried: list[str] = []

    @broker.task(retry=RetryPolicy(max_attempts=2, delay=0.02))
    async def mend(text: str) -> str:
        tried.append(text)
        if text == "bad":
            raise Reject("no")
        if tried == [text]:
            raise OSError
        return text

    async with broker, working(broker):
        late = await mend.options(delay=0.05).kiq("late")
        assert await asyncio.wait_for(late, 20) == "late"
        assert (await (await mend.kiq("bad")).result(20)).error is not None
        (letter,) = await broker.dead.list(newer_than=60)
        assert (await broker.dead.retry(letter)).ids == [letter.id]


async def test_the_least_rights_are_enough(rabbitmq_server: RabbitMQServer, namespace: str) -> None:
    """Everything works with what the page grants, and nothing outside the namespace can be declared."""
    url = await asyncio.to_thread(url_of_user, rabbitmq_server, namespace, DECLARING)
    await use(broker_from_url(url, namespace=namespace, command_timeout=20))
    other = broker_from_url(url, namespace=f"{namespace}-other", command_timeout=20)

    @other.task
    async def never() -> None: ...

    async with other:
        with pytest.raises(ConfigurationError, match=r"may not (declare|look)"):
            await never.kiq()


async def test_who_declares_nothing_needs_less(rabbitmq_server: RabbitMQServer, namespace: str, tmp_path: Path) -> None:
    """Where all is there that the definitions list, the right to configure is that to queues of single processes."""
    url = await asyncio.to_thread(url_of_user, rabbitmq_server, namespace, DECLARED)
    broker = broker_from_url(url, namespace=namespace, command_timeout=20, declare=False)
    definitions = tmp_path / "definitions.json"
    definitions.write_text(broker.definitions())
    await asyncio.to_thread(rabbitmq_server.control, "import_definitions", str(definitions))
    await use(broker)
