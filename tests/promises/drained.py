"""What may be left behind when all tasks have ended and all workers have stopped."""

import sqlite3
from contextlib import closing

from asyncq import Handle, RabbitMQBroker, RedisBroker
from asyncq.sqlite.schema import ENDED
from tests.cli.programs import Program
from tests.promises.publisher import Publisher, stopped
from tests.redis_keys import assert_no_keys_left

STAY = ("{{namespace}}:q:default:sequence", "{{namespace}}:q:default:wake", "{{namespace}}:queues")
"""Redis keys that outlive the messages, as asyncq/redis/keys.py says."""

TABLES = (
    *("consumers", "members", "severed", "letters", "watchers", "listeners", "schedules", "schedulers"),
    *("uniques", "holds", "lines", "waiters"),
)


async def assert_drained(publisher: Publisher, url: str) -> None:
    """Close the publisher, and fail on whatever stays behind but results and what is documented to stay."""
    broker = publisher.broker
    [counts] = await (await broker.open()).transport.counts(["default"])
    if broker.capabilities.counts_calls:  # else a copy of what has ended may be ready
        assert counts.ready == 0
    assert not any(counts._replace(ready=0))
    await broker.close()
    if isinstance(broker, RabbitMQBroker):
        if isinstance(broker.store, RedisBroker):
            await assert_no_keys_left(broker.store.url, broker.namespace, allowed=(*STAY, "{{namespace}}:ledger"))
    elif url.startswith("redis"):
        await assert_no_keys_left(url, broker.namespace, allowed=STAY)
    else:
        assert rows_in(url.removeprefix("sqlite:///")) == {}


async def assert_comes_back(
    publisher: Publisher, held: Handle[int], url: str, *, worker: Program, other: Program
) -> None:
    """Fail unless a worker that is not cut off any more works again, and what another ran in its place has counted."""
    await worker.says("lost its lease")
    await stopped(other)
    assert (await (await publisher.wait.kiq("after", 0)).result(timeout=10)).value == worker.pid, "it works again"
    assert (await publisher.broker.handle(held.id).result(timeout=1)).value == other.pid
    await stopped(worker)
    await assert_drained(publisher, url)


def rows_in(path: str) -> dict[str, int]:
    """Return the rows that are not results, by table; tables without any are left out."""
    with closing(sqlite3.connect(path)) as file:
        counts = {table: file.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in TABLES}
        counts["calls"] = file.execute(f"SELECT count(*) FROM calls WHERE state <> {ENDED}").fetchone()[0]
    return {table: count for table, count in counts.items() if count}
