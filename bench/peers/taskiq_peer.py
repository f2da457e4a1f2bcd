"""taskiq on a Redis stream: `taskiq worker bench.peers.taskiq_peer:broker`."""

from collections.abc import Awaitable

import taskiq
from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

from bench.peers import tasks
from bench.peers.peer import Peer, Queued
from bench.peers.settings import Settings

# The default, 0.2 s, would be all that a round trip shows.
CHECK_INTERVAL = 0.002

settings = Settings.from_environment()
broker: taskiq.AsyncBroker = RedisStreamBroker(settings.url, xread_count=100)
if settings.keeps_results:
    broker = broker.with_result_backend(RedisAsyncResultBackend(settings.url, result_ex_time=600))
noop = broker.task(task_name="noop")(tasks.noop)
nap = broker.task(task_name="nap")(tasks.nap)
echo = broker.task(task_name="echo")(tasks.echo)


class TaskiqPeer(Peer):
    """taskiq has no batch call, and schedules from a process of its own."""

    async def open(self) -> None:
        await broker.startup()

    async def close(self) -> None:
        await broker.shutdown()

    def enqueue(self, task: Queued, payload: str) -> Awaitable[object]:
        return (noop if task == "noop" else nap).kiq(payload)

    async def call(self, value: int) -> object:
        task = await echo.kiq(value)
        return (await task.wait_result(check_interval=CHECK_INTERVAL)).return_value


PEER = TaskiqPeer
