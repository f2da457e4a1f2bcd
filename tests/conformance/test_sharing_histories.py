"""Random histories of groups that share a queue: whoever waits is passed by nobody more than once."""

import asyncio
import tempfile
from collections import Counter
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asyncq.terms import Terms
from asyncq.testing.conformance import Backend
from asyncq.testing.conformance.stage import LIMITS, NOT_KEPT, QUEUE, Stage
from asyncq.transport import Done, Envelope, Return
from tests.conformance.backends import MovedMemory, Redis, SQLite

FEW = settings(
    max_examples=40,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)

publishing = st.tuples(st.just("publish"), st.sampled_from(["a", "b", "c", ""]), st.integers(1, 6))
fetching = st.tuples(st.sampled_from(["fetch", "return"]), st.just(""), st.sampled_from([1, 1, 2, 3, 5]))
histories = st.lists(st.one_of(publishing, fetching), min_size=5, max_size=30)


async def play(backend: Backend, steps: list[tuple[str, str, int]]) -> None:
    """Do the steps, and hold what is lent against whose turn it was."""
    stage = Stage(backend)
    try:
        process = await stage.process()
        consumer = await process.consumer()
        waiting: Counter[str] = Counter()
        ahead: dict[str, Counter[str]] = {}
        for number, (what, group, count) in enumerate(steps):
            if what == "publish":
                terms = Terms(group=group) if group else None
                ids = [f"{group}-{number}-{n}" for n in range(count)]
                await process.publish(*(Envelope(id, QUEUE, b"", terms=terms) for id in ids))
                waiting[group] += count
                ahead.setdefault(group, Counter())
                continue
            deliveries = await consumer.fetch(LIMITS, count, wait=False)
            assert len(deliveries) == min(count, waiting.total())
            served = Counter(delivery.id.split("-")[0] for delivery in deliveries)
            for waiter, passed_by in ahead.items():
                passed_by.update(served)
                passed_by.subtract(dict.fromkeys(passed_by, served[waiter]))
                for other in passed_by:
                    passed_by[other] = max(0, passed_by[other])
                    if waiting[waiter] > served[waiter] and other != waiter:
                        assert passed_by[other] <= 1, f"{waiter!r} was passed by {other!r} {passed_by[other]} times"
            for waiter in [each for each in ahead if served[each] == waiting[each]]:
                ahead[waiter].clear()  # it does not wait any more; what comes back waits anew
            if what == "fetch":
                waiting.subtract(served)
            settle = (lambda each: Done(each, NOT_KEPT)) if what == "fetch" else Return
            await consumer.settle([settle(each) for each in deliveries])
            for waiter in [each for each in ahead if not waiting[each]]:
                del ahead[waiter]
    finally:
        await stage.close()


@FEW
@given(histories)
def test_nobody_is_passed_twice_in_memory(steps: list[tuple[str, str, int]]) -> None:
    """Whatever is published, lent and handed back, memory serves groups in turn."""
    asyncio.run(play(MovedMemory(), steps))


@FEW
@given(histories)
def test_nobody_is_passed_twice_in_sqlite(steps: list[tuple[str, str, int]]) -> None:
    """Whatever is published, lent and handed back, SQLite serves groups in turn."""
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(play(SQLite(Path(folder) / "asyncq.db"), steps))


@FEW
@given(steps=histories)
def test_nobody_is_passed_twice_in_redis(redis_url: str, steps: list[tuple[str, str, int]]) -> None:
    """Whatever is published, lent and handed back, Redis serves groups in turn."""
    asyncio.run(play(Redis(redis_url), steps))
