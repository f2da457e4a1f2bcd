"""taskiq's side of a client, whichever broker the tasks are on."""

from typing import Any

import taskiq
from taskiq_redis import RedisAsyncResultBackend

from bench.peers.peer import Peer

# The default, 0.2 s, would be all that a round trip shows.
CHECK_INTERVAL = 0.002


def keeping(broker: taskiq.AsyncBroker, results_url: str, *, keeps_results: bool) -> taskiq.AsyncBroker:
    """Return the broker, with results kept in Redis for ten minutes or not at all."""
    if not keeps_results:
        return broker
    return broker.with_result_backend(RedisAsyncResultBackend(results_url, result_ex_time=600))


class TaskiqClient(Peer):
    """taskiq has no batch call."""

    def __init__(self, broker: taskiq.AsyncBroker, echo: Any) -> None:
        self._broker = broker
        self._echo = echo

    async def open(self) -> None:
        await self._broker.startup()

    async def close(self) -> None:
        await self._broker.shutdown()

    async def call(self, value: int) -> object:
        task = await self._echo.kiq(value)
        return (await task.wait_result(check_interval=CHECK_INTERVAL)).return_value
