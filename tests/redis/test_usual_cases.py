"""The usual cases of scripts, which come first in them: they do what the rest of the script would have done."""

import random
from collections.abc import Mapping, Sequence
from hashlib import sha1
from typing import Any, TypeVar, cast

import pytest
from redis.asyncio import Redis

from asyncq.redis.consumer import RedisConsumer
from asyncq.redis.keys import Keys
from asyncq.redis.script import ScriptSet, all_scripts
from asyncq.store import CallKey
from asyncq.terms import SlotTerm, Terms
from asyncq.transport import Again, Dead, Delivery, Done, Envelope, Outcome, Return, Settlement, UniqueTerm
from tests.redis.pairs import KEPT, MINUTE_MS, Pair, opened
from tests.redis_keys import NO_TTL

T = TypeVar("T")

QUEUES = ["mail", "reports", "imports"]
HOUR_MS = 60 * MINUTE_MS
LARGE = Outcome(b"r" * 5_000, MINUTE_MS, "caller")
OUTCOMES = [
    KEPT,
    KEPT._replace(reply="caller"),
    LARGE,
    LARGE._replace(ttl_ms=0),
    Outcome(None),
    Outcome(None, 0, "caller"),
]
BELLS = ("wake", "wake_suspects")
ADDRESSES, OVER = [b"caller", b"watcher"], b"over"
ODDITIES = [
    *("urgent", "later", "known", "unique", "grouped", "limited"),
    *("woken", "withdrawn", "withdrawn in the middle", "brought forward", "watched", "dead"),
    *("followed", "buried", "again", "again later", "returned", "crashed", "outdated"),
]
SHORTCUTS = {
    "fetch": ("for q, prefix in ipairs(refusal and {} or KEYS) do", "for q, prefix in ipairs({}) do"),
    "settle": ("if have_simply_ended() and", "if false and"),
}
"""What opens the usual case, and what does in its place: nothing ever is one."""


def without_shortcuts() -> ScriptSet:
    """Return the scripts without their usual cases."""
    scripts = ScriptSet(with_flags=True)
    for index, name in enumerate(all_scripts()):
        if name in SHORTCUTS:
            assert scripts.texts[index].count(SHORTCUTS[name][0]) == 1
            text = scripts.texts[index].replace(*SHORTCUTS[name])
            scripts.texts[index] = text
            scripts.digests[name] = sha1(text.encode(), usedforsecurity=False).hexdigest()
    return scripts


class Twins:
    """Two namespaces in which the same is done, with and without the usual cases, at random.

    Args:
        pairs: one in each.
        redis: their server.
        seed: of what is done. It tells, too, which few kinds of unusual things are done: of all of them together there
            would nearly always be some in a queue.
    """

    def __init__(self, pairs: Sequence[Pair], redis: Redis, seed: int) -> None:
        self._pairs = pairs
        self._redis = redis
        self._random = random.Random(seed)
        self._oddities = self._random.sample(ODDITIES, self._random.randint(0, 6))
        self._ids = 0
        self._consumers: list[list[RedisConsumer]] = []
        self._held: list[tuple[int, Sequence[Delivery]]] = []
        self._news = redis.pubsub()

    async def join(self) -> None:
        """Let one more consumer come."""
        name = f"worker-{len(self._consumers)}"
        self._consumers.append([await pair.transport.consumer(name, QUEUES, lease=600) for pair in self._pairs])

    async def step(self) -> None:
        """Do one thing in both, and compare what is told."""
        odd = self._odd_one({
            "woken": self._wake,
            "withdrawn": self._withdraw,
            "withdrawn in the middle": self._withdraw_in_the_middle,
            "brought forward": self._bring_forward,
            "watched": self._watch,
            "dead": self._crash,
        })  # fmt: skip
        usual = self._random.choice(
            [self._publish, self._publish, self._fetch, self._fetch, self._settle, self._settle]
        )
        await (odd or usual)()
        await self._compare_news()

    async def listen(self) -> None:
        """Hear from now on what is told to anybody."""
        await self._news.subscribe(*ADDRESSES, OVER)
        for _ in (*ADDRESSES, OVER):
            await self._heard()

    async def _heard(self) -> tuple[bytes, bytes]:
        message = await self._news.get_message(timeout=None)
        assert message is not None
        return message["channel"], message["data"]

    async def _compare_news(self) -> None:
        """Fail unless each has told others the same, one after the other, since the last time."""
        await self._redis.publish(OVER, b"")
        heard: list[tuple[bytes, bytes]] = []
        while (message := await self._heard()) != (OVER, b""):
            heard.append(message)
        half = len(heard) // 2
        assert sorted(heard[:half]) == sorted(heard[half:])

    async def compare(self) -> None:
        """Fail unless the same is kept in both."""
        first, second = [await self._kept(pair) for pair in self._pairs]
        for bell in [name for name in first if name.endswith(BELLS) and name not in second]:
            del first[
                bell
            ]  # a whole script may take back a token where it found nothing: it wakes somebody for nothing
        assert first == second

    def _odd_one(self, choices: Mapping[str, T]) -> T | None:
        """Return one of those that may be chosen, now and then."""
        possible = [choice for name, choice in choices.items() if name in self._oddities]
        return self._random.choice(possible) if possible and self._random.random() < 0.25 else None

    def _envelope(self) -> Envelope:
        self._ids += 1
        envelope = Envelope(f"id-{self._ids}", self._random.choice(QUEUES), b"body", is_fresh=True)
        odd = self._odd_one({
            "urgent": envelope._replace(priority=5),
            "later": envelope._replace(due_ms=self._pairs[0].transport.now_ms() + HOUR_MS),
            "known": envelope._replace(is_fresh=False),
            "unique": envelope._replace(unique=UniqueTerm("key", ends_at_start=self._random.random() < 0.5)),
            "grouped": envelope._replace(terms=Terms(group=self._random.choice("ab"))),
            "limited": envelope._replace(terms=Terms(slots=(SlotTerm("room", self._random.choice("ab")),))),
        })  # fmt: skip
        return odd or envelope

    async def _publish(self) -> None:
        envelopes = [self._envelope() for _ in range(self._random.randint(1, 4))]
        receipts = [await pair.transport.publish(envelopes) for pair in self._pairs]
        assert receipts[0] == receipts[1]

    async def _fetch(self) -> None:
        number = self._random.randrange(len(self._consumers))
        queues = self._random.sample(QUEUES, self._random.randint(1, 3))
        limits = {queue: self._random.randint(1, 5) for queue in queues}
        count, suspects = self._random.randint(1, 8), self._random.randint(0, 3)
        first, second = [
            await consumer.fetch(limits, count, wait=False, suspects=suspects) for consumer in self._consumers[number]
        ]
        assert first == second
        if first:
            self._held.append((number, first))
        usual, whole = [_alarms_of(consumer) for consumer in self._consumers[number]]
        assert usual == pytest.approx(whole, abs=1)

    def _settlement(self, delivery: Delivery) -> Settlement:
        done = Done(delivery, self._random.choice(OUTCOMES))
        then = [self._envelope()] if self._random.random() < 0.5 else []
        later_ms = self._pairs[0].transport.now_ms() + HOUR_MS
        odd = self._odd_one({
            "followed": done._replace(then=then),
            "buried": Dead(delivery, self._random.choice(OUTCOMES), "why", MINUTE_MS, then),
            "again": Again(delivery, b"again", 0),
            "again later": Again(delivery, b"again", later_ms),
            "returned": Return(delivery),
            "crashed": Return(delivery, is_crash=True),
            "outdated": Done(delivery._replace(token=f"{delivery.token}0"), KEPT),
        })  # fmt: skip
        return odd or done

    async def _settle(self) -> None:
        if not self._held:
            return
        number, deliveries = self._held.pop(self._random.randrange(len(self._held)))
        settlements = [self._settlement(delivery) for delivery in deliveries]
        first, second = [await consumer.settle(settlements) for consumer in self._consumers[number]]
        assert first == second

    async def _wake(self) -> None:
        """Take the tokens, as consumers do that wait."""
        for queue in QUEUES:
            for bell in BELLS:
                first, second = [await self._redis.lpop(self._keys(pair, queue)[bell]) for pair in self._pairs]
                assert first == second or second is None

    async def _withdraw(self) -> None:
        id, queue = f"id-{self._random.randint(1, max(self._ids, 1))}", self._random.choice(QUEUES)
        even_running = self._random.random() < 0.5
        first, second = [
            await pair.transport.withdraw(id, queue, KEPT, even_running=even_running) for pair in self._pairs
        ]
        assert first == second

    async def _withdraw_in_the_middle(self) -> None:
        """Withdraw what stays in the line, as it does in a long one."""
        queue, place = self._random.choice(QUEUES), self._random.randint(0, 2)
        for pair in self._pairs:
            keys = self._keys(pair, queue)
            for member in await self._redis.lrange(keys["line"], place, place):
                await self._redis.hdel(keys["messages"], member[1:])
                await self._redis.hset(keys["withdrawn"], member, "1")

    async def _bring_forward(self) -> None:
        """Let what was to come later be due."""
        for pair in self._pairs:
            for queue in QUEUES:
                key = self._keys(pair, queue)["due"]
                members = cast(list[bytes], await self._redis.zrange(key, 0, 1))
                for place, member in enumerate(members):
                    await self._redis.zadd(key, {member: 1 + place})

    async def _watch(self) -> None:
        key = CallKey(f"id-{self._random.randint(1, max(self._ids, 1))}", None)
        report = self._random.random() < 0.5
        for pair in self._pairs:
            if report:
                await pair.store.report(key, b"half", ttl_ms=MINUTE_MS)
            else:
                await pair.store.look([key], watcher="watcher")

    async def _crash(self) -> None:
        """Take a consumer for dead, and let another come."""
        number = self._random.randrange(len(self._consumers))
        for pair, consumer in zip(self._pairs, self._consumers[number], strict=True):
            await pair.transport.release([consumer.name])
        self._held = [(holder, deliveries) for holder, deliveries in self._held if holder != number]
        name = f"next-{number}-{self._ids}-{self._random.random()}"
        self._consumers[number] = [await pair.transport.consumer(name, QUEUES, lease=600) for pair in self._pairs]

    def _keys(self, pair: Pair, queue: str) -> Keys:
        return pair.transport._space.queue(queue)  # pyright: ignore[reportPrivateUsage]

    async def _kept(self, pair: Pair) -> dict[str, Any]:
        """Return all keys of a namespace, without what tells the time."""
        tag = pair.transport._space.own["queues"].removesuffix("queues")  # pyright: ignore[reportPrivateUsage]
        kept: dict[str, Any] = {}
        async for key in self._redis.scan_iter(match=f"{tag.replace('[', '?')}*", count=1_000):
            name = key.decode().removeprefix(tag)
            part = name.split(":")[-1]
            value = await self._value(key, with_times=part not in {"dead", "fading", "turns"} and ":lane" not in name)
            if part not in {"workers", "about", "queues_of", "progress", "letters"} and not name.startswith("unique:"):
                kept[name] = value, await self._redis.ttl(key) == NO_TTL
            else:
                kept[name] = None
        return kept

    async def _value(self, key: bytes, *, with_times: bool) -> Any:
        match await self._redis.type(key):
            case b"string":
                return await self._redis.get(key)
            case b"hash":
                return await self._redis.hgetall(key)
            case b"list":
                return await self._redis.lrange(key, 0, -1)
            case b"set":
                return await self._redis.smembers(key)
            case _:
                entries = await self._redis.zrange(key, 0, -1, withscores=True)
                return entries if with_times else sorted(member for member, _ in entries)


def _alarms_of(consumer: RedisConsumer) -> dict[str, float]:
    """Return when the consumer wakes somebody for what is due, by queue, by the loop's clock in seconds."""
    return consumer._alarm._times  # pyright: ignore[reportPrivateUsage]


@pytest.mark.parametrize("seed", range(20))
async def test_they_agree_with_what_they_spare(redis_url: str, namespace: str, seed: int) -> None:
    """The same is told, lent and kept, of three queues at once, whatever else there is in some of them."""
    async with (
        opened(redis_url, namespace) as usual,
        opened(redis_url, f"{namespace}-whole") as whole,
        Redis.from_url(redis_url) as redis,
    ):
        whole.client.server._scripts = without_shortcuts()  # pyright: ignore[reportPrivateUsage]
        twins = Twins([usual, whole], redis, seed)
        await twins.listen()
        for _ in range(2):
            await twins.join()
        for _ in range(15):
            for _ in range(12):
                await twins.step()
            await twins.compare()
