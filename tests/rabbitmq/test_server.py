"""What a server says that it is."""

import pytest

from asyncq.errors import ConfigurationError
from asyncq.rabbitmq.server import Server


@pytest.mark.parametrize("version", ["3.9.29", "3.9", "2.8.7"])
def test_an_old_server_is_refused(version: str) -> None:
    """A RabbitMQ before 3.10 is refused, with what is needed."""
    with pytest.raises(ConfigurationError, match=rf"It is RabbitMQ {version}; asyncq needs RabbitMQ 3\.10 or later"):
        Server("RabbitMQ", version).check()


@pytest.mark.parametrize("server", [("RabbitMQ", "3.10.0"), ("RabbitMQ", "4.1.2-rc.1"), ("LavinMQ", "2.0"), ("", "")])
def test_other_servers_are_let_be(server: tuple[str, str]) -> None:
    """A newer one is taken, and what does not say that it is RabbitMQ is not judged."""
    Server(*server).check()
