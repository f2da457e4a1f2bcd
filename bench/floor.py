"""The floor: what this machine, Redis and redis-py allow, as a queue with only its hot path.

Fetch as many as there are free slots, run each in a task of its own, settle what has finished together in one script,
publish what is called at the same time in one command, wake all waiters through one subscription. No leases, retries,
limits, types or errors: a queue that keeps promises is slower, and by how much is worth knowing.

`python -m bench.floor` is its worker; it is told what to do as the workers of the peers are.
"""

import asyncio
import os
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

import orjson
import redis.asyncio
import redis.exceptions
import uvloop

from bench.peers import tasks
from bench.peers.settings import Settings

STREAM: Final = "floor:stream"
GROUP: Final = "floor"
CONSUMER: Final = "one"
FENCE: Final = "floor:fence"
RESULT_PREFIX: Final = "floor:result:"
RESULT_TTL: Final = 600
FETCH_AT_MOST: Final = 200
SETTLE_AT_MOST: Final = 500
TASK_TIMEOUT: Final = 30

PUBLISH: Final = """
-- KEYS: stream. ARGV: a message each.
for _, message in ipairs(ARGV) do
  redis.call('XADD', KEYS[1], '*', 'm', message)
end
return #ARGV
"""

SETTLE: Final = """
-- KEYS: stream, fence. ARGV: group, seconds to keep results (0: not at all), then for each message its entry, the key
-- of its result, its result, and the channel of who waits ('': nobody).
if redis.call('EXISTS', KEYS[2]) == 1 then return -1 end
local ttl, entries = tonumber(ARGV[2]), {}
for at = 3, #ARGV, 4 do
  entries[#entries + 1] = ARGV[at]
  if ttl > 0 then redis.call('SET', ARGV[at + 1], ARGV[at + 2], 'EX', ttl) end
  if ARGV[at + 3] ~= '' then redis.call('PUBLISH', ARGV[at + 3], ARGV[at + 2]) end
end
redis.call('XACK', KEYS[1], ARGV[1], unpack(entries))
redis.call('XDEL', KEYS[1], unpack(entries))
return #entries
"""

TASKS: Final[Mapping[str, Callable[[Any], Awaitable[object]]]] = {
    "noop": tasks.noop,
    "nap": tasks.nap,
    "echo": tasks.echo,
}


class Caller:
    """Publishes messages and waits for results."""

    def __init__(self, url: str) -> None:
        self._redis = redis.asyncio.Redis.from_url(url)
        self._subscription = redis.asyncio.Redis.from_url(url, socket_timeout=None).pubsub()
        self._channel = f"floor:reply:{os.urandom(4).hex()}"
        self._waiting: dict[str, asyncio.Future[object]] = {}
        self._outbox: list[tuple[bytes, asyncio.Future[None]]] = []
        self._sender: asyncio.Task[None] | None = None
        self._listener: asyncio.Task[None] | None = None
        self._script = ""

    async def open(self) -> None:
        self._script = await self._redis.script_load(PUBLISH)
        await self._subscription.subscribe(self._channel)
        self._listener = asyncio.create_task(self._listen())

    async def close(self) -> None:
        if self._listener is not None:
            self._listener.cancel()
            await asyncio.wait([self._listener])
        await self._subscription.aclose()
        await self._redis.aclose()

    async def publish(self, task: str, argument: object) -> None:
        """Publish with all others that are called in this turn of the loop, or while the last lot is on its way."""
        await self._posted(self._message(os.urandom(12).hex(), task, argument, ""))

    def publish_many(self, task: str, arguments: Sequence[object]) -> Awaitable[None]:
        """Publish in one command."""
        return self._send([self._message(os.urandom(12).hex(), task, argument, "") for argument in arguments])

    async def call(self, task: str, argument: object) -> object:
        """Publish and wait for the result."""
        id = os.urandom(12).hex()
        result = self._waiting[id] = asyncio.get_running_loop().create_future()
        await self._posted(self._message(id, task, argument, self._channel))
        return await result

    def _message(self, id: str, task: str, argument: object, reply: str) -> bytes:
        return orjson.dumps({"v": 1, "id": id, "task": task, "args": [argument], "kwargs": {}, "reply": reply})

    def _posted(self, message: bytes) -> asyncio.Future[None]:
        loop = asyncio.get_running_loop()
        is_sent = loop.create_future()
        self._outbox.append((message, is_sent))
        if self._sender is None:
            self._sender = loop.create_task(self._empty_outbox())
        return is_sent

    async def _empty_outbox(self) -> None:
        while self._outbox:
            lot, self._outbox = self._outbox, []
            await self._send([message for message, _ in lot])
            for _, is_sent in lot:
                is_sent.set_result(None)
        self._sender = None

    async def _send(self, messages: Sequence[bytes]) -> None:
        await self._redis.execute_command("EVALSHA", self._script, 1, STREAM, *messages)

    async def _listen(self) -> None:
        while True:
            message = await self._subscription.parse_response(block=True)
            if message is not None and message[0] == b"message":
                result = orjson.loads(message[2])
                self._waiting.pop(result["id"]).set_result(result["value"])


class Worker:
    """Runs what is in the stream until it is killed."""

    def __init__(self, settings: Settings) -> None:
        self._commands = redis.asyncio.Redis.from_url(settings.url)
        self._reader = redis.asyncio.Redis.from_url(settings.url, socket_timeout=30)
        self._free = settings.concurrency
        self._ttl = RESULT_TTL if settings.keeps_results else 0
        self._finished: deque[tuple[bytes, str, bytes, str]] = deque()
        self._has_finished = asyncio.Event()
        self._has_free = asyncio.Event()

    async def run(self) -> None:
        await self._create_group()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._settle())
            while True:
                await self._wait_for_slot()
                for entry, message in await self._fetch():
                    self._free -= 1
                    group.create_task(self._run(entry, message))

    async def _create_group(self) -> None:
        try:
            await self._commands.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
        except redis.exceptions.ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise

    async def _wait_for_slot(self) -> None:
        if not self._free:
            self._has_free.clear()
            await self._has_free.wait()

    async def _fetch(self) -> Sequence[tuple[bytes, bytes]]:
        streams = await self._reader.execute_command(
            *("XREADGROUP", "GROUP", GROUP, CONSUMER, "COUNT", min(self._free, FETCH_AT_MOST)),
            *("BLOCK", 2000, "STREAMS", STREAM, ">"),
        )
        # redis-py gives lists or a dict, and the entries once more in a list, as its version and protocol have it.
        lots = streams.values() if isinstance(streams, dict) else [entries for _, entries in streams or ()]
        entries = [each for lot in lots for each in (lot[0] if lot and isinstance(lot[0], list) else lot)]
        return [(entry, fields[b"m"]) for entry, fields in entries]

    async def _run(self, entry: bytes, message: bytes) -> None:
        body = orjson.loads(message)
        async with asyncio.timeout(TASK_TIMEOUT):
            value = await TASKS[body["task"]](*body["args"])
        result = {"id": body["id"], "status": "succeeded", "value": value, "finished": time.time()}
        self._finished.append((entry, RESULT_PREFIX + body["id"], orjson.dumps(result), body["reply"]))
        self._free += 1
        self._has_free.set()
        self._has_finished.set()

    async def _settle(self) -> None:
        script = await self._commands.script_load(SETTLE)
        while True:
            await self._has_finished.wait()
            self._has_finished.clear()
            while self._finished:
                count = min(len(self._finished), SETTLE_AT_MOST)
                parts = [part for _ in range(count) for part in self._finished.popleft()]
                await self._commands.execute_command("EVALSHA", script, 2, STREAM, FENCE, GROUP, self._ttl, *parts)


if __name__ == "__main__":
    uvloop.run(Worker(Settings.from_environment()).run())
