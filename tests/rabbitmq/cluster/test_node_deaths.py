"""Nodes of a cluster die under load: what was confirmed runs, and nobody waits in vain for ever."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from asyncq import RabbitMQBroker, ResultMissing
from asyncq.rabbitmq.names import Names
from tests.cli.programs import StartProgram
from tests.promises.effects import Effects
from tests.promises.publisher import Publisher, started, stopped
from tests.rabbitmq.cluster.clusters import (
    NEW_DEAD_LETTER_WORKERS,
    Load,
    follower_of,
    leader_of,
    leader_of_delays,
    most_connected,
)
from tests.rabbitmq.cluster.conftest import COMMAND_TIMEOUT
from tests.rabbitmq_servers import RabbitMQCluster, RabbitMQServer
from tests.waiting import wait_until

SLOTS = 20

RETRIED = """
from asyncq import Context, Depends


@broker.task(retry=RetryPolicy(delay=0.5))
async def falter(number: int, ctx: Context = Depends()) -> int:
    note(f"{number}-{ctx.attempt}")
    if ctx.attempt == 1:
        raise ValueError(number)
    return 2 * number
"""

pytestmark = pytest.mark.timeout(600)  # four nodes start, one after the other, beside the load


@pytest.fixture(params=["without a store", "with a store"])
def store(request: pytest.FixtureRequest, redis_url: str) -> str | None:
    """What remembers."""
    return redis_url if request.param == "with a store" else None


async def test_nodes_die_under_load(
    cluster: RabbitMQCluster,
    namespace: str,
    names: Names,
    tmp_path: Path,
    asyncq: StartProgram,
    store: str | None,
) -> None:
    """Whichever node is killed, work goes on without it: what was confirmed runs, and every waiter gets an end."""
    url = f"amqp://guest:guest@{','.join(f'127.0.0.1:{node.port}' for node in cluster.nodes)}/"
    effects = Effects(tmp_path, url, namespace, store=store)
    app = effects.variant("faltering", after=RETRIED)
    options = {"namespace": namespace, "store": store, "command_timeout": COMMAND_TIMEOUT}
    async with RabbitMQBroker(cluster.urls, **options) as broker, asyncio.TaskGroup() as group:
        work = Publisher(broker).work
        load = Load(work, broker.task(name="app:falter")(falter))
        workers = [await started(asyncq, *app, "--concurrency", str(SLOTS)) for _ in range(2)]
        loading = group.create_task(load.run())
        await goes_on(load, effects, "work to begin")
        roles: dict[str, Callable[[], RabbitMQServer | None]] = {
            "has the clients": lambda: most_connected(cluster),
            "leads the queue": lambda: leader_of(cluster, names.queue("default")),
            "leads the delays": lambda: leader_of_delays(cluster),
            "follows": lambda: follower_of(cluster, names.queue("default")),
        }
        for role, find in roles.items():
            node = await asyncio.to_thread(find)
            assert node is not None
            for each in cluster.nodes:
                await asyncio.to_thread(each.flush)
            await asyncio.to_thread(node.kill)
            await goes_on(load, effects, f"work to go on without the node that {role}")
            await asyncio.to_thread(node.start)
        load.stop()
        for node in cluster.nodes:
            await asyncio.to_thread(node.evaluate, NEW_DEAD_LETTER_WORKERS)
        await wait_until(loading.done, "every waiter to have its end", timeout=40)
        await wait_until(lambda: names_of(load) <= effects.runs().keys(), "all that was confirmed to run", timeout=30)
    missing = [end for end in load.ends.values() if isinstance(end, ResultMissing)]
    assert [number for number, end in load.ends.items() if end not in (2 * number, *missing)] == []
    repeats = {name: len(pids) for name, pids in effects.runs().items() if len(pids) > 1}
    if store:
        assert not missing
        assert not repeats
    else:
        assert all(times <= 1 + len(roles) for times in repeats.values())
    await stopped(*workers)


async def falter(number: int) -> int:
    """What the task is for a publisher."""
    raise NotImplementedError


async def goes_on(load: Load, effects: Effects, what: str) -> None:
    """Return when more was confirmed, and more has run."""
    confirmed, runs = len(load.confirmed), effects.count()
    await wait_until(lambda: len(load.confirmed) >= confirmed + 300 and effects.count() >= runs + 200, what, timeout=40)


def names_of(load: Load) -> set[str]:
    """Return the names of all runs of what was confirmed."""
    return {
        name
        for number in load.confirmed
        for name in ([f"{number}-1", f"{number}-2"] if number % 10 == 0 else [str(number)])
    }
