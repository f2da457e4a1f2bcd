"""A Redis whose memory is full and that evicts nothing, under workers."""

import pytest
from redis.asyncio import Redis

from asyncq import PublishRefused, RetryPolicy, Status
from tests.cli.programs import StartProgram
from tests.promises.effects import Effects
from tests.promises.publisher import Publisher, results_of, started, stopped
from tests.servers import RedisServer


@pytest.mark.parametrize("kind", ["redis"])
async def test_a_full_memory(publisher: Publisher, effects: Effects, asyncq: StartProgram, server: RedisServer) -> None:
    """Publishing is refused; what is there runs, is tried again, is cancelled and reported, until all has drained."""
    running = await publisher.finish.kiq("running")
    retry = RetryPolicy(max_attempts=2, delay=0.2)
    failing = await publisher.fail.options(retry=retry).kiq("failing")
    cancelled = await publisher.cleaning.kiq("cancelled")
    worker = await started(asyncq, "--lease", "1", "--concurrency", "3")
    await effects.wait_for("running", "failing", "cancelled")
    queued = [await publisher.work.kiq(number) for number in range(20)]
    delayed = await publisher.wait.options(delay=1.5).kiq("delayed", 0)

    async with Redis.from_url(server.url) as redis:
        await redis.config_set("maxmemory", "1")
        with pytest.raises(PublishRefused, match="maxmemory"):
            await publisher.work.options(id="refused").kiq(20)
        effects.let_go_on("running", "failing")
        assert await running == worker.pid
        assert await cancelled.cancel()
        await effects.wait_for("cancelled-cleaned")
        assert await results_of(queued) == [2 * number for number in range(20)]
        assert await delayed == worker.pid
        result = await failing.result(timeout=10)
        assert (result.status, result.attempts) == (Status.FAILED, 2)
        await effects.wait_for("failing-reported")
        await redis.config_set("maxmemory", "0")

    again = await publisher.work.options(id="refused").kiq(20)
    assert (again.is_new, await again) == (True, 40)
    assert {len(pids) for name, pids in effects.runs().items() if not name.startswith("failing")} == {1}
    await stopped(worker)
