"""dramatiq on RabbitMQ: `dramatiq bench.peers.dramatiq_peer`."""

import asyncio
import time

import dramatiq
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

from bench.peers import tasks
from bench.peers.peer import Peer, Queued
from bench.peers.settings import Settings

settings = Settings.from_environment()
# Confirms are off by default; all others here wait for theirs.
broker = RabbitmqBroker(url=settings.url, confirm_delivery=True)
if settings.keeps_results:
    broker.add_middleware(Results(backend=RedisBackend(url=settings.results_url), store_results=True))
dramatiq.set_broker(broker)


@dramatiq.actor
def noop(payload: str) -> int | None:
    """Do nothing. Without a backend for results, dramatiq warns of each that is not None."""
    result = tasks.noop_sync(payload)
    return result if settings.keeps_results else None


@dramatiq.actor
def echo(value: int) -> int:
    """Return what was given."""
    return value


@dramatiq.actor
def late(due: float) -> None:
    """Note how late this starts."""
    tasks.late_sync(due)


class DramatiqPeer(Peer):
    """dramatiq is synchronous: its calls block, one after the other."""

    async def open(self) -> None:
        """Nothing to do: it connects when it first publishes."""

    async def close(self) -> None:
        broker.close()

    async def enqueue(self, task: Queued, payload: str) -> object:
        await asyncio.sleep(0)
        return noop.send(payload)

    async def enqueue_at(self, due: float) -> object:
        await asyncio.sleep(0)
        return late.send_with_options(args=(due,), delay=max(0, round((due - time.time()) * 1000)))

    async def call(self, value: int) -> object:
        await asyncio.sleep(0)
        return echo.send(value).get_result(block=True, timeout=10_000)


PEER = DramatiqPeer
