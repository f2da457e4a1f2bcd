"""Random series of steps with limits against a model, and random histories of turns, on all that keep limits."""

import asyncio
import tempfile
from functools import partial
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import run_state_machine_as_test
from redis import Redis as RedisClient

from asyncq.limits import Kind, LimitId, Numbers
from asyncq.redis.keys import KeySpace
from asyncq.testing.conformance import Backend
from asyncq.testing.conformance.stage import QUEUE, Stage
from asyncq.transport import Outcome
from tests.conformance.backends import MovedMemory, Redis, SQLite
from tests.conformance.limited_machine import LimitedMachine

SLOW = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
LONG = settings(max_examples=60, stateful_step_count=40, deadline=None, database=None, suppress_health_check=SLOW)
SHORT = settings(LONG, max_examples=15, phases=[Phase.generate])
FEW = settings(max_examples=12, deadline=None, database=None, suppress_health_check=SLOW)

PER_MS = 60
API = LimitId(Kind.RATE, "api")

asks = st.lists(st.tuples(st.sampled_from([0, 0, 1, 5, 20]), st.integers(1, 3)), min_size=1, max_size=25)
"""Of each attempt: ms since the one before, and its weight."""


def test_memory_agrees_with_the_model() -> None:
    """After any steps memory lends what the model would, and no more."""

    class Machine(LimitedMachine):
        make_backend = staticmethod(MovedMemory)

    run_state_machine_as_test(Machine, settings=LONG)


def test_sqlite_agrees_with_the_model(tmp_path: Path) -> None:
    """After any steps SQLite lends what the model would, and no more."""

    class Machine(LimitedMachine):
        make_backend = staticmethod(partial(SQLite, tmp_path / "asyncq.db"))

    run_state_machine_as_test(Machine, settings=SHORT)


def test_redis_agrees_with_the_model(redis_url: str) -> None:
    """After any steps Redis lends what the model would, and no more; and nothing is left of lines and lanes."""

    class Machine(LimitedMachine):
        make_backend = staticmethod(partial(Redis, redis_url))

        def teardown(self) -> None:
            for id in self.calls:
                assert self.run(self.process.transport.withdraw(id, QUEUE, Outcome(None), even_running=True))
            with RedisClient.from_url(redis_url) as redis:
                begin = KeySpace(self.stage.namespace).queue(QUEUE)["line"].removesuffix("line")
                for name in ("lane", "turn", "stands", "terms"):
                    assert not list(redis.scan_iter(f"{begin}{name}*"))
            super().teardown()

    run_state_machine_as_test(Machine, settings=SHORT)


async def history(backend: Backend, numbers: Numbers, attempts: list[tuple[int, int]]) -> list[tuple[int, int, int]]:
    """Return of each turn that was granted its weight, and between which two moments that was."""
    stage, granted = Stage(backend), []
    try:
        process = await stage.process()
        office = process.transport.limits()
        await office.declare({API: numbers})
        for number, (after_ms, weight) in enumerate(attempts):
            await backend.pass_time(after_ms / 1000)
            before_ms = backend.now_ms()
            asked = await office.ask(API, "", weight, f"waiter-{number}", 1_000)
            if asked.is_granted:
                granted.append((before_ms, backend.now_ms(), min(weight, numbers.limit)))
            else:
                await office.leave(API, "", f"waiter-{number}")
    finally:
        await stage.close()
    return granted


def check(granted: list[tuple[int, int, int]], numbers: Numbers) -> None:
    """No window has more than the limit, whenever between its two moments each turn was granted."""
    assert granted
    for index, (begin_ms, _, _) in enumerate(granted):
        inside = [weight for _, end_ms, weight in granted[index:] if end_ms - begin_ms <= numbers.per_ms]
        assert sum(inside) <= numbers.limit


@FEW
@given(st.integers(1, 5), asks)
def test_no_window_in_memory_has_more(limit: int, attempts: list[tuple[int, int]]) -> None:
    """Whatever is asked for when, memory grants no more in any window."""
    numbers = Numbers(limit, PER_MS)
    check(asyncio.run(history(MovedMemory(), numbers, attempts)), numbers)


@FEW
@given(st.integers(1, 5), asks)
def test_no_window_in_sqlite_has_more(limit: int, attempts: list[tuple[int, int]]) -> None:
    """Whatever is asked for when, SQLite grants no more in any window."""
    numbers = Numbers(limit, PER_MS)
    with tempfile.TemporaryDirectory() as folder:
        check(asyncio.run(history(SQLite(Path(folder) / "asyncq.db"), numbers, attempts)), numbers)


@FEW
@given(limit=st.integers(1, 5), attempts=asks)
def test_no_window_in_redis_has_more(redis_url: str, limit: int, attempts: list[tuple[int, int]]) -> None:
    """Whatever is asked for when, Redis grants no more in any window."""
    numbers = Numbers(limit, PER_MS)
    check(asyncio.run(history(Redis(redis_url), numbers, attempts)), numbers)
