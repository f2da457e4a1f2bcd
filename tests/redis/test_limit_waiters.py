"""Code outside of tasks that waits for limits on Redis, or holds slots: what is left of it, and of lost replies."""

import asyncio

import pytest
from redis.asyncio import Redis

from asyncq import Broker, LeaseLost, broker_from_url
from asyncq.broker import limiters
from asyncq.limits import Kind, LimitId, Numbers
from asyncq.redis.keys import KeySpace
from tests.chaos.link import Direction
from tests.chaos.proxy import Proxy
from tests.redis.pairs import opened
from tests.servers import StartRedis
from tests.waiting import wait_until

ROOM = LimitId(Kind.SLOTS, "room")


async def test_a_killed_waiter_leaves_nothing(redis_url: str, namespace: str) -> None:
    """What is noted of who waits goes with its place when it is killed, whether or not others wait."""
    waited = KeySpace(namespace).own["waited"]
    async with opened(redis_url, namespace) as pair, Redis.from_url(redis_url) as redis:
        office = pair.transport.limits()
        await office.declare({ROOM: Numbers(1)})
        for key in ("a", "b"):
            assert (await office.ask(ROOM, key, 1, f"holder-{key}", 60_000)).is_granted
        assert not (await office.ask(ROOM, "a", 1, "killed", 200)).is_granted

        async def is_empty() -> bool:
            return not await redis.exists(waited)

        assert not await is_empty()
        await wait_until(is_empty, "nothing is noted any more")
        assert not (await office.ask(ROOM, "a", 1, "killed too", 200)).is_granted

        async def is_alone() -> bool:
            assert not (await office.ask(ROOM, "b", 1, "alive", 60_000)).is_granted
            return list(await redis.zrange(waited, 0, -1)) == [b"slots room b"]

        await wait_until(is_alone, "only who lives is noted")
        await office.change(ROOM, Numbers(2))
        await office.called("alive", 5)
        assert (await office.ask(ROOM, "b", 1, "alive", 60_000)).is_granted
        assert await is_empty()


async def test_a_slot_is_given_back_whose_reply_is_lost(own_redis: StartRedis, namespace: str) -> None:
    """Who gives a slot back, and learns that by its second try only, is not told that it had lost it."""
    server = own_redis()
    with Proxy(server.port) as network:
        async with broker_from_url(network.url(), namespace=namespace) as broker:
            await give_back_unheard(broker, network, server.url, namespace)


async def test_a_slot_that_was_lost_before_the_reply(
    own_redis: StartRedis, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where its lease may have run out meanwhile it is told, whatever became of the replies."""
    monkeypatch.setattr(limiters, "LEASE", 0.3)
    server = own_redis()
    with Proxy(server.port) as network:
        async with (
            broker_from_url(network.url(), namespace=namespace) as broker,
            broker_from_url(server.url, namespace=namespace) as other,
        ):
            hold = broker.concurrency_limit("reports", 1).acquire()
            await hold.__aenter__()
            network.blackhole()
            async with other.concurrency_limit("reports", 1):
                network.heal()
                network.blackhole(Direction.TO_CLIENT)
                leaving = asyncio.create_task(hold.__aexit__(None, None, None))
                await asyncio.sleep(0.2)  # it is asked, and not heard
                network.heal()
                with pytest.raises(LeaseLost, match="was lost while it was held"):
                    await leaving


async def give_back_unheard(broker: Broker, network: Proxy, url: str, namespace: str) -> None:
    """Hold a slot and give it back while what the server says is lost."""
    holders = KeySpace(namespace).own["limits"].removesuffix("limits") + "holders:slots reports "
    async with Redis.from_url(url) as redis:

        async def is_free() -> bool:
            return not await redis.exists(holders)

        hold = broker.concurrency_limit("reports", 1).acquire()
        await hold.__aenter__()
        assert not await is_free()
        network.blackhole(Direction.TO_CLIENT)
        leaving = asyncio.create_task(hold.__aexit__(None, None, None))
        await wait_until(is_free, "the slot is free")
        network.heal()
        await leaving
