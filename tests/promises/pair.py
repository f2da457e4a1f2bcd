"""A RabbitMQ and the Redis in which its calls are remembered: what befalls one befalls both."""

from typing import NamedTuple, TypeAlias

from tests.rabbitmq_servers import RabbitMQServer
from tests.servers import RedisServer


class Pair(NamedTuple):
    """Both of them, as one server.

    Attributes:
        node: has the messages.
        store: knows of their calls.
    """

    node: RabbitMQServer
    store: RedisServer

    @property
    def url(self) -> str:
        """Where the messages are."""
        return self.node.url

    def pause(self) -> None:
        """Freeze both."""
        self.node.pause()
        self.store.pause()

    def resume(self) -> None:
        """Let both go on."""
        self.store.resume()
        self.node.resume()

    def kill(self) -> None:
        """End both at once, with all queues on the disk: see `RabbitMQServer.flush`."""
        self.node.flush()
        self.node.kill()
        self.store.kill()

    def start(self) -> None:
        """Start both again on their ports and data."""
        self.store.start()
        self.node.start()

    def restart(self) -> None:
        """Kill and start both."""
        self.kill()
        self.start()


Server: TypeAlias = RedisServer | RabbitMQServer | Pair
