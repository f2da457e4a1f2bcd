"""taskiq on RabbitMQ: `taskiq worker bench.peers.taskiq_rabbitmq_peer:broker`."""

import time
from collections.abc import Awaitable

from taskiq_aio_pika import AioPikaBroker, Queue

from bench.peers import tasks
from bench.peers.peer import Queued
from bench.peers.settings import Settings
from bench.peers.taskiq_client import TaskiqClient, keeping

settings = Settings.from_environment()
# As many as run and as many as wait for a slot: the default of 10 lets no more than 10 run.
pika = AioPikaBroker(settings.url, qos=2 * settings.concurrency, delay_queue=Queue(name="taskiq.delay"))
broker = keeping(pika, settings.results_url, keeps_results=settings.keeps_results)
noop = broker.task(task_name="noop")(tasks.noop)
echo = broker.task(task_name="echo")(tasks.echo)
late = broker.task(task_name="late")(tasks.late)


class TaskiqPeer(TaskiqClient):
    """Delays wait in one queue, and end at its head only."""

    def __init__(self) -> None:
        super().__init__(broker, echo)

    def enqueue(self, task: Queued, payload: str) -> Awaitable[object]:
        return noop.kiq(payload)

    def enqueue_at(self, due: float) -> Awaitable[object]:
        return late.kicker().with_labels(delay=due - time.time()).kiq(due)


PEER = TaskiqPeer
