"""The ledger on a server that fails, forgets, or is full; what it costs, and what it leaves."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from redis.asyncio import Redis

from asyncq.errors import BrokerUnavailable, ConfigurationError, LeaseLost, PublishRefused
from asyncq.ledger import LIFE, TOMBSTONE_MS, Held, next_life
from asyncq.redis.keys import KeySpace
from asyncq.redis.script import ScriptSet
from asyncq.redis.taking import Taking
from asyncq.store import CallKey, Listener
from asyncq.transport import Again, Dead, DeadLetter, Done, Envelope, Outcome, Return, Revival
from tests.redis import pairs
from tests.redis.ledgers import copies_of, lend, opened
from tests.redis.pairs import KEPT, MINUTE_MS, QUEUE, RECORD, commands_of, finish, kept_up
from tests.servers import StartRedis
from tests.waiting import wait_until

NOT_KEPT = Outcome(None)
KEYS_THAT_STAY = ["{{namespace}}:queues", "{{namespace}}:ledger"]


async def test_scripts_that_were_forgotten_are_given_again(own_redis: StartRedis) -> None:
    """After SCRIPT FLUSH every verb goes on as if nothing had happened."""
    async with opened(own_redis().url) as pair:

        async def flush() -> None:
            await pair.client.commands.call([("SCRIPT", "FLUSH")], wanted="flush")

        holder = await pair.holder()
        await flush()
        await pair.ledger.note([Envelope("a", QUEUE, b"a", is_fresh=True)])
        await flush()
        deliveries = await lend(holder, copies_of("a", "b"))
        await flush()
        await finish(holder, deliveries[:1])
        await flush()
        assert await pair.ledger.withdraw("b", QUEUE, KEPT, even_running=True)
        await flush()
        assert list(await pair.ledger.claim([Envelope("c", QUEUE, b"c")], ttl_ms=MINUTE_MS)) == [0]


async def test_a_flushed_server_has_forgotten_and_loses_nothing(own_redis: StartRedis) -> None:
    """After FLUSHALL a holder is no member and settles nothing; under a new name, or in a new process, all is lent."""
    server = own_redis()
    async with opened(server.url) as pair, Redis.from_url(server.url) as redis:
        holder = await pair.holder()
        lease = holder.lease()
        deliveries = await lend(holder, copies_of("a", "b"))
        await redis.flushall()
        assert not await asyncio.to_thread(lease.renew)
        await asyncio.to_thread(lease.close)
        assert list(await holder.settle([Done(delivery, KEPT) for delivery in deliveries])) == [False, False]
        with pytest.raises(LeaseLost):
            await holder.take(copies_of("a"))
        await pair.ledger.note([Envelope("a", QUEUE, b"a")])
        async with opened(server.url) as another:
            successor = await another.holder()
            await finish(successor, await lend(successor, copies_of("a", "b")))
        await redis.flushall()
        await pair.holder()
        async with opened(server.url):
            pass  # its namespace is a ledger's still


async def test_an_older_state_accepts_newer_generations(own_redis: StartRedis) -> None:
    """What a failover has lost of a call does not keep its next attempt from running, nor its holder from going on."""
    server = own_redis()
    async with opened(server.url) as pair, opened(server.url) as other, Redis.from_url(server.url) as redis:
        holder, second = await pair.holder(), await other.holder()
        async with kept_up(holder), kept_up(second):
            sent_on, ended, _ = await lend(holder, copies_of("sent on", "ended", "runs"))
            await redis.save()
            later = await lend(holder, copies_of("later"))
            assert list(await holder.settle([Again(sent_on, b"retry", 0), Done(ended, KEPT)])) == [True, True]
            await asyncio.to_thread(server.restart)

            async def is_free() -> bool:
                return await other.ledger.running([QUEUE]) == [1]

            await wait_until(is_free, "the holder to say what it holds, though it takes nothing")
            retry = await lend(second, copies_of("sent on", generation=1))
            assert [isinstance(verdict, Held) for verdict in await second.take(copies_of("runs"))] == [True]
            await finish(second, retry)
            assert list(await holder.settle([Done(later[0], KEPT)])) == [False]
            assert [orphan.id for orphan in await other.ledger.orphans(10)] == ["ended"]


async def test_an_older_state_takes_for_waiting_what_has_ended(own_redis: StartRedis) -> None:
    """What was noted before the lost moments, and has ended in them, is published again: nobody has its message."""
    server = own_redis()
    async with opened(server.url) as pair, opened(server.url) as other, Redis.from_url(server.url) as redis:
        holder = await pair.holder()
        async with kept_up(holder):
            ids = ("ended", "buried", "cancelled", "sent on", "scheduled", "waits")
            due_ms = {"scheduled": pair.ledger.now_ms() + MINUTE_MS}
            await pair.ledger.note([Envelope(id, QUEUE, id.encode(), 3, due_ms.get(id, 0)) for id in ids])
            await redis.save()
            copies = [copy._replace(priority=3) for copy in copies_of(*ids[:-1])]
            ended, buried, cancelled, sent_on, scheduled = await lend(holder, copies)
            assert await pair.ledger.withdraw("cancelled", QUEUE, KEPT, even_running=True)
            settlements = [
                *(Done(ended, KEPT), Dead(buried, KEPT, "for good", MINUTE_MS), Done(cancelled, KEPT)),
                *(Again(sent_on, b"retry", 0), Done(scheduled, KEPT)),
            ]
            assert list(await holder.settle(settlements)) == [True, True, False, True, True]
            await asyncio.to_thread(server.restart)

            async def are_found() -> bool:
                return len(await other.ledger.orphans(10)) == 3

            await wait_until(are_found, "what has ended here is published again")
            assert await other.ledger.orphans(10) == copies[:3]
            taken = await lend(holder, copies[:1])
            await finish(holder, taken)
            assert [orphan.id for orphan in await other.ledger.orphans(10)] == ["buried", "cancelled"]


async def test_what_a_lost_reply_lent_is_let_go(redis_url: str, namespace: str) -> None:
    """The next take is lent what one whose reply was lost had been, without a crash; that one comes too late then."""
    async with opened(redis_url, namespace) as pair:
        holder = await pair.holder()
        kept = await lend(holder, copies_of("kept"))
        holder._holdings.ask([QUEUE])  # pyright: ignore[reportPrivateUsage] - a take whose reply goes elsewhere
        unheard = Taking(copies_of("a"), holder.name, holder._holdings.number)  # pyright: ignore[reportPrivateUsage]
        late = unheard.calls(KeySpace(namespace).queue)
        assert await pair.client.commands.call(late, wanted="take") == [[]]
        [a] = await lend(holder, copies_of("a"))
        assert a.crashes == 0
        assert await pair.client.commands.call(late, wanted="take") == [-1]
        await finish(holder, [*kept, a])


async def test_an_order_may_arrive_before_its_verdict(redis_url: str, namespace: str) -> None:
    """Of what was withdrawn before its take was answered the verdict is that it is not wanted."""
    told: list[str] = []
    async with opened(redis_url, namespace) as pair, Redis.from_url(redis_url) as redis:
        holder = await pair.holder()
        address = KeySpace(namespace).own["orders"] + holder.name
        token = f"{holder.name}/1/00"  # of the first copy in its first take
        async with kept_up(holder, told.extend):
            await wait_until(lambda: is_subscribed(redis, address), "it has subscribed")
            await redis.publish(address, token)
            await wait_until(lambda: told == [token], "the order has come")
            assert [verdict is None for verdict in await holder.take(copies_of("a", "b"))] == [True, False]


@pytest.mark.parametrize("knows_flags", [True, False])
async def test_a_full_server_lends_and_settles(own_redis: StartRedis, knows_flags: bool) -> None:
    """With its memory full the server notes nothing and all else goes on; with the scripts of Redis 6.2, too."""
    server = own_redis("--maxmemory-policy", "noeviction")
    async with opened(server.url) as pair, Redis.from_url(server.url) as redis:
        pair.client.server._scripts = ScriptSet(with_flags=knows_flags)  # pyright: ignore[reportPrivateUsage]
        await pair.ledger.note([Envelope("a", QUEUE, b"a")])
        await redis.config_set("maxmemory", "1")
        with pytest.raises(BrokerUnavailable, match="maxmemory"):
            await pair.ledger.note([Envelope("x", QUEUE, b"x")])
        envelopes = [Envelope(id, queue, b"x") for id, queue in (("x", QUEUE), ("y", "other"), ("z", QUEUE))]
        for receipt in await pair.ledger.claim(envelopes, ttl_ms=MINUTE_MS):
            assert isinstance(receipt, PublishRefused)
            assert "maxmemory" in str(receipt)
        dead, holder = await pair.holder(), await pair.holder()
        lease = holder.lease()
        assert await asyncio.to_thread(lease.renew)
        await asyncio.to_thread(lease.close)
        await lend(dead, copies_of("e"))
        a, b, c, d = await lend(holder, copies_of("a", "b", "c", "d"))
        settlements = [Done(a, KEPT), Again(b, b"retry", 0), Return(c, is_crash=True)]
        assert list(await holder.settle(settlements)) == [True] * 3
        assert await pair.ledger.withdraw("d", QUEUE, KEPT, even_running=True)
        assert list(await holder.settle([Done(d, KEPT)])) == [False]
        assert await pair.ledger.release([dead.name]) == 1
        await pair.ledger.placed(await pair.ledger.orphans(10))
        assert list(await pair.ledger.orphans(10)) == []
        await pair.ledger.strike([Envelope("x", QUEUE, b"x")])
        await holder.absolve()
        assert await holder.leave() == 0


async def test_nothing_is_left_when_all_has_ended(
    redis_url: str, namespace: str, no_keys_left: Callable[..., Awaitable[None]]
) -> None:
    """After every kind of noting, taking and settling, only the documented keys have no TTL."""
    async with opened(redis_url, namespace) as pair:
        address = await pair.store.listen(Listener(lambda _: None, lambda: None))
        due_ms = pair.ledger.now_ms() + MINUTE_MS
        ids = [str(number) for number in range(20)]
        await pair.ledger.claim([Envelope(id, QUEUE, id.encode()) for id in ids[:10]], ttl_ms=MINUTE_MS)
        await pair.ledger.note([Envelope(id, QUEUE, id.encode(), due_ms=due_ms) for id in ids[:15]])
        await pair.store.look([CallKey(id, QUEUE) for id in ids], watcher=address)
        dead, holder = await pair.holder(), await pair.holder()
        await lend(dead, copies_of(*ids[:5]))
        assert await pair.ledger.release([dead.name]) == 5
        assert await pair.ledger.withdraw("0", QUEUE, KEPT)
        assert await pair.ledger.withdraw("10", QUEUE, NOT_KEPT)
        async with kept_up(holder):
            taken = [*ids[1:10], *ids[11:]]
            deliveries = await lend(holder, copies_of(*taken))
            await pair.store.report(CallKey("1", QUEUE), b"half", ttl_ms=MINUTE_MS)
            assert await pair.ledger.withdraw("1", QUEUE, KEPT, even_running=True)
            assert all(await holder.settle([Again(delivery, b"retry", due_ms) for delivery in deliveries[1:]]))
            deliveries = await lend(holder, copies_of(*taken[1:], generation=1))
            await finish(holder, deliveries[1:])
            assert list(await holder.settle([Done(deliveries[0], NOT_KEPT)])) == [True]
            letter = DeadLetter("2", QUEUE, b"", "reason", None, 0, 1)
            assert list(await pair.ledger.reopen([Revival(letter, b"next life")])) == [next_life(1)]
            await finish(holder, await lend(holder, copies_of("2", generation=next_life(1))))
            await pair.ledger.orphans(10)  # who looks for them forgets those that have ended
        assert await holder.leave() == 0
    await no_keys_left(allowed=KEYS_THAT_STAY)


async def test_an_end_is_kept_once(redis_url: str, namespace: str) -> None:
    """A result that is kept for long enough says itself that its call has ended, in the id's first life."""
    long = Outcome(RECORD, TOMBSTONE_MS)
    async with opened(redis_url, namespace) as pair, Redis.from_url(redis_url) as redis:
        holder = await pair.holder()
        ended = KeySpace(namespace).queue(QUEUE)["ended"]
        copies = [*copies_of("a"), *copies_of("b", generation=1), *copies_of("c", generation=LIFE)]
        deliveries = await lend(holder, copies)
        assert list(await holder.settle([Done(delivery, long) for delivery in deliveries])) == [True] * 3
        assert [await redis.get(ended + id) for id in "abc"] == [None, None, str(LIFE).encode()]
        assert list(await holder.take(copies)) == [None] * 3


async def test_very_many_orphans_are_found(redis_url: str, namespace: str) -> None:
    """More than one script call looks at come in their order, large ones as well."""
    async with opened(redis_url, namespace) as pair:
        dead = await pair.holder()
        copies = [copy._replace(priority=number % 10) for number, copy in enumerate(copies_of(*map(str, range(1_200))))]
        copies[10:14] = [copy._replace(body=b"x" * 600_000) for copy in copies[10:14]]
        await lend(dead, copies)
        assert await pair.ledger.release([dead.name]) == 1_200
        assert list(await pair.ledger.orphans(2_000)) == copies
        assert list(await pair.ledger.orphans(700)) == copies[:700]
        await pair.ledger.placed(copies[:1_100])
        assert list(await pair.ledger.orphans(2_000)) == copies[1_100:]


async def test_a_batch_costs_few_commands(own_redis: StartRedis) -> None:
    """A hundred calls are noted, taken and settled in one script call each; it runs one command more for each call."""
    server = own_redis()
    long = Outcome(RECORD, TOMBSTONE_MS)
    async with opened(server.url) as pair, Redis.from_url(server.url) as redis:
        holder = await pair.holder()
        ids = [str(number) for number in range(100)]
        await finish(holder, await lend(holder, copies_of("first")))
        costs: list[int] = []
        before = await commands_of(redis)
        await pair.ledger.note([Envelope(id, QUEUE, id.encode(), is_fresh=True) for id in ids])
        costs.append(await commands_of(redis) - before)
        deliveries = await lend(holder, copies_of(*ids))
        costs.append(await commands_of(redis) - before)
        await holder.settle([Done(delivery, long) for delivery in deliveries])
        costs.append(await commands_of(redis) - before)
        noting, taking, settling = costs[0], costs[1] - costs[0], costs[2] - costs[1]
        assert (noting, taking) < (10, 12), costs
        assert settling <= 110, costs


@pytest.mark.parametrize("has_messages", [True, False])
async def test_a_transports_namespace_is_no_ledgers(redis_url: str, namespace: str, has_messages: bool) -> None:
    """Where a transport has messages or consumers no ledger opens, and no transport opens where a ledger is."""
    async with pairs.opened(redis_url, namespace) as pair:
        consumer = None if has_messages else await pair.consumer()
        if has_messages:
            await pair.publish("a")
        with pytest.raises(ConfigurationError, match=namespace):
            async with opened(redis_url, namespace):
                pass
        if consumer is not None:
            await consumer.leave()
        assert not has_messages or await pair.transport.withdraw("a", QUEUE, KEPT)
    async with opened(redis_url, namespace), opened(redis_url, namespace):
        with pytest.raises(ConfigurationError, match=namespace):
            async with pairs.opened(redis_url, namespace):
                pass


async def is_subscribed(redis: Redis, address: str) -> bool:
    """Say whether somebody listens to the channel."""
    return (await redis.pubsub_numsub(address))[0][1] == 1
