"""The floor on RabbitMQ: what this machine, the server and aiormq allow, as a queue with only its hot path.

A quorum queue; publishing with confirms; 200 messages ahead of their acknowledgement, of which the whole prefix is
acknowledged at once. Its tasks end in the order in which they came: there is nothing here for others.

`python -m bench.rabbitmq_floor` is its worker; it is told what to do as the workers of the peers are.
"""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import aiormq
import orjson
import uvloop
from aiormq.abc import AbstractChannel, AbstractConnection, DeliveredMessage
from pamqp.commands import Basic

from bench import plain_ladder
from bench.peers import tasks
from bench.peers.settings import Settings

QUEUE: Final = "floor"
PREFETCH: Final = 200
ACKNOWLEDGE_AT: Final = PREFETCH // 4
ACKNOWLEDGE_AFTER: Final = 0.005

TASKS: Final[Mapping[str, Callable[[Any], Awaitable[object]]]] = {
    "noop": tasks.noop,
    "echo": tasks.echo,
    "late": tasks.late,
}


class Caller:
    """Publishes messages and waits for results."""

    _connection: AbstractConnection
    _channel: AbstractChannel
    _reply: str

    def __init__(self, url: str) -> None:
        self._url = url
        self._waiting: dict[str, asyncio.Future[object]] = {}
        self._declaring = asyncio.Lock()
        self._has_ladder = False

    async def open(self) -> None:
        self._connection = await aiormq.connect(self._url)
        self._channel = await self._connection.channel()
        await _declare(self._channel)
        self._reply = (await self._channel.queue_declare("", exclusive=True)).queue or ""
        await self._channel.basic_consume(self._reply, self._answered, no_ack=True)

    async def close(self) -> None:
        await self._connection.close()

    def publish(self, task: str, argument: object) -> Awaitable[object]:
        """Publish; done when the server has confirmed it."""
        return self._publish(os.urandom(12).hex(), task, argument, "")

    async def publish_at(self, due: float, task: str, argument: object) -> object:
        """Publish what is due at a time, in seconds since 1970, by the plain ladder."""
        async with self._declaring:
            if not self._has_ladder:
                await plain_ladder.declare(self._channel, QUEUE)
                self._has_ladder = True
        way = plain_ladder.key(due - time.time())
        return await self._publish(os.urandom(12).hex(), task, argument, "", exchange=plain_ladder.TOP, key=way)

    async def call(self, task: str, argument: object) -> object:
        """Publish and wait for the result."""
        id = os.urandom(12).hex()
        result = self._waiting[id] = asyncio.get_running_loop().create_future()
        await self._publish(id, task, argument, self._reply)
        return await result

    def _publish(
        self, id: str, task: str, argument: object, reply: str, *, exchange: str = "", key: str = QUEUE
    ) -> Awaitable[object]:
        message = {"v": 1, "id": id, "task": task, "args": [argument], "kwargs": {}, "reply": reply}
        return self._channel.basic_publish(
            orjson.dumps(message),
            exchange=exchange,
            routing_key=key,
            properties=Basic.Properties(delivery_mode=2, message_id=id),
            mandatory=True,
            wait=False,
        )

    async def _answered(self, message: DeliveredMessage) -> None:
        result = orjson.loads(message.body)
        self._waiting.pop(result["id"]).set_result(result["value"])


class Worker:
    """Runs what is in the queue until it is killed."""

    _channel: AbstractChannel
    _replies: AbstractChannel

    def __init__(self, settings: Settings) -> None:
        self._url = settings.url
        self._ended = 0
        self._acknowledged = 0
        self._acknowledging = asyncio.Lock()
        self._has_ended = asyncio.Event()

    async def run(self) -> None:
        connection = await aiormq.connect(self._url)
        self._channel = await connection.channel()
        self._replies = await connection.channel(publisher_confirms=False)
        await _declare(self._channel)
        await self._channel.basic_qos(prefetch_count=PREFETCH)
        await self._channel.basic_consume(QUEUE, self._run)
        while True:
            await self._has_ended.wait()
            await asyncio.sleep(ACKNOWLEDGE_AFTER)
            self._has_ended.clear()
            await self._acknowledge()

    async def _run(self, message: DeliveredMessage) -> None:
        body = orjson.loads(message.body)
        value = await TASKS[body["task"]](*body["args"])
        if reply := body["reply"]:
            result = orjson.dumps({"id": body["id"], "value": value})
            await self._replies.basic_publish(result, routing_key=reply, wait=False)
        self._ended = message.delivery_tag or 0
        self._has_ended.set()
        if self._ended - self._acknowledged >= ACKNOWLEDGE_AT:
            await self._acknowledge()

    async def _acknowledge(self) -> None:
        async with self._acknowledging:  # the server closes a channel on which they are out of order
            if self._ended > self._acknowledged:
                self._acknowledged = self._ended
                await self._channel.basic_ack(self._ended, multiple=True, wait=False)


async def _declare(channel: AbstractChannel) -> None:
    await channel.queue_declare(QUEUE, durable=True, arguments={"x-queue-type": "quorum"})


if __name__ == "__main__":
    uvloop.run(Worker(Settings.from_environment()).run())
