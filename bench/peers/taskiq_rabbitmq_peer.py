"""taskiq on RabbitMQ: `taskiq worker bench.peers.taskiq_rabbitmq_peer:broker`."""

import time
from collections.abc import Awaitable

import taskiq
from taskiq_aio_pika import AioPikaBroker, Queue
from taskiq_redis import RedisAsyncResultBackend

from bench.peers import tasks
from bench.peers.peer import Peer, Queued
from bench.peers.settings import Settings

# The default, 0.2 s, would be all that a round trip shows.
CHECK_INTERVAL = 0.002

settings = Settings.from_environment()
# As many as run and as many as wait for a slot: the default of 10 lets no more than 10 run.
broker: taskiq.AsyncBroker = AioPikaBroker(
    settings.url, qos=2 * settings.concurrency, delay_queue=Queue(name="taskiq.delay")
)
if settings.keeps_results:
    broker = broker.with_result_backend(RedisAsyncResultBackend(settings.results_url, result_ex_time=600))
noop = broker.task(task_name="noop")(tasks.noop)
echo = broker.task(task_name="echo")(tasks.echo)
late = broker.task(task_name="late")(tasks.late)


class TaskiqPeer(Peer):
    """taskiq has no batch call. Delays wait in one queue, and end at its head only."""

    async def open(self) -> None:
        await broker.startup()

    async def close(self) -> None:
        await broker.shutdown()

    def enqueue(self, task: Queued, payload: str) -> Awaitable[object]:
        return noop.kiq(payload)

    def enqueue_at(self, due: float) -> Awaitable[object]:
        return late.kicker().with_labels(delay=due - time.time()).kiq(due)

    async def call(self, value: int) -> object:
        task = await echo.kiq(value)
        return (await task.wait_result(check_interval=CHECK_INTERVAL)).return_value


PEER = TaskiqPeer
