"""RabbitMQ: queues on a server, 3.10 or later, through aiormq."""

from asyncq.rabbitmq.client import RabbitClient
from asyncq.rabbitmq.replies import RabbitReplies
from asyncq.rabbitmq.transport import RabbitTransport

__all__ = ["RabbitClient", "RabbitReplies", "RabbitTransport"]
