"""RabbitMQ: queues on a server, 3.10 or later, through aiormq."""

from asyncq.rabbitmq.client import RabbitClient
from asyncq.rabbitmq.noting import NotedStore, Noter
from asyncq.rabbitmq.remembering import RememberingTransport
from asyncq.rabbitmq.replies import RabbitReplies
from asyncq.rabbitmq.transport import RabbitTransport

__all__ = ["NotedStore", "Noter", "RabbitClient", "RabbitReplies", "RabbitTransport", "RememberingTransport"]
