"""taskiq on a Redis stream: `taskiq worker bench.peers.taskiq_peer:broker`."""

from collections.abc import Awaitable

from taskiq_redis import RedisStreamBroker

from bench.peers import tasks
from bench.peers.peer import Queued
from bench.peers.settings import Settings
from bench.peers.taskiq_client import TaskiqClient, keeping

settings = Settings.from_environment()
broker = keeping(RedisStreamBroker(settings.url, xread_count=100), settings.url, keeps_results=settings.keeps_results)
noop = broker.task(task_name="noop")(tasks.noop)
nap = broker.task(task_name="nap")(tasks.nap)
echo = broker.task(task_name="echo")(tasks.echo)


class TaskiqPeer(TaskiqClient):
    """It schedules from a process of its own."""

    def __init__(self) -> None:
        super().__init__(broker, echo)

    def enqueue(self, task: Queued, payload: str) -> Awaitable[object]:
        return (noop if task == "noop" else nap).kiq(payload)


PEER = TaskiqPeer
