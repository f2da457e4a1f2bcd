"""RabbitMQ: queues on a server, 3.10 or later, through aiormq."""

from asyncq.rabbitmq.client import RabbitClient
from asyncq.rabbitmq.noting import NotedStore, Noter
from asyncq.rabbitmq.remembering import RememberingTransport
from asyncq.rabbitmq.replies import RabbitReplies
from asyncq.rabbitmq.transport import RabbitTransport
from asyncq.rabbitmq.urls import HEARTBEAT, HEARTBEAT_WITH_LEDGER

__all__ = [
    "HEARTBEAT",
    "HEARTBEAT_WITH_LEDGER",
    "NotedStore",
    "Noter",
    "RabbitClient",
    "RabbitReplies",
    "RabbitTransport",
    "RememberingTransport",
]
