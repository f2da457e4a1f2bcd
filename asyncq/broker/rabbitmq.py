"""The broker on RabbitMQ."""

from collections.abc import Sequence
from typing import Any

from asyncq.broker.broker import Broker
from asyncq.broker.urls import hidden_password
from asyncq.rabbitmq import RabbitClient, RabbitReplies, RabbitTransport
from asyncq.store import Store
from asyncq.transport import Transport


class RabbitMQBroker(Broker):
    """A broker on RabbitMQ, 3.10 or later. It has no memory of calls: their ends are told to who has published them.

    Args:
        url: `amqp://[user:password@]host[:port][/virtual host]`, or `amqps://` for TLS; several, or several hosts in
            one, are the nodes of a cluster.
        heartbeat: seconds of silence after which the server and we take each other for gone; None: as the URL says, or
            60. A worker whose event loop is blocked for twice that loses its connection.
        declare: whether exchanges and queues are declared here; False: they are there already, and only looked for.
        management_url: where the server's management API answers; None: nothing is asked there.
        options: see `Broker`.
    """

    capabilities = RabbitTransport.capabilities

    def __init__(
        self,
        url: str | Sequence[str] = "amqp://localhost:5672",
        *,
        heartbeat: int | None = None,
        declare: bool = True,
        management_url: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.urls = (url,) if isinstance(url, str) else tuple(url)
        self.heartbeat = heartbeat
        self.declare = declare
        self.management_url = management_url

    def describe(self) -> str:
        return ",".join(map(hidden_password, self.urls))

    def connect(self) -> tuple[Transport, Store]:
        queues = list(self.queues.values())
        client = RabbitClient(
            self.urls,
            namespace=self.namespace,
            priorities={queue.name: queue.max_priority for queue in queues if queue.max_priority},
            connect_timeout=self.connect_timeout,
            command_timeout=self.command_timeout,
            heartbeat=self.heartbeat,
            declare=self.declare,
        )
        transport = RabbitTransport(client, queues=queues, dead_cap=self.dead_letter_cap)
        return transport, RabbitReplies(client, self.reply_address())
