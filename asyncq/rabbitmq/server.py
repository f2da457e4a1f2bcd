"""The server: what the other side of a connection says that it is."""

import re
from typing import NamedTuple

from asyncq.errors import ConfigurationError

PRODUCT = "RabbitMQ"
OLDEST = (3, 10)
"""Before it, quorum queues have no time to live, and dead letters none that is sure to arrive."""


class Server(NamedTuple):
    """A product, and its version; empty: it did not say. Others than RabbitMQ speak its protocol, too."""

    product: str
    version: str

    def __str__(self) -> str:
        return f"{self.product or 'A server that does not say what it is'} {self.version}".rstrip()

    @property
    def is_rabbitmq(self) -> bool:
        """Whether it is what asyncq is made for."""
        return self.product == PRODUCT

    def check(self) -> None:
        """Raise ConfigurationError for a RabbitMQ that cannot do what is needed."""
        found = re.match(r"(\d+)\.(\d+)", self.version)
        if self.is_rabbitmq and found and (int(found[1]), int(found[2])) < OLDEST:
            raise ConfigurationError(f"It is {self}; asyncq needs {PRODUCT} {'.'.join(map(str, OLDEST))} or later.")
