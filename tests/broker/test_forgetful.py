"""A broker without a memory of calls: who publishes is told, nobody else; what needs a memory is refused."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence

import pytest

from asyncq import (
    BrokerUnavailable,
    Context,
    Depends,
    Handle,
    NotSupported,
    ResultMissing,
    ResultTimeout,
    RetryPolicy,
    Status,
    TaskExpired,
    TaskFailed,
)
from asyncq.broker.letterbox import Letterbox
from asyncq.transport import Envelope, Receipt
from tests.forgetful import ForgetfulBroker, ForgetfulTransport
from tests.waiting import wait_for_waits, wait_until
from tests.working import working

REMEDY = r'ForgetfulBroker\(store="\.\.\."\)'


@pytest.fixture
async def broker() -> AsyncIterator[ForgetfulBroker]:
    """One that opens itself, with nobody who works."""
    broker = ForgetfulBroker()
    yield broker
    await broker.close()


async def test_who_publishes_is_told(broker: ForgetfulBroker) -> None:
    """Each publish carries the address, the first of all included: results come, in any order, and errors too."""

    @broker.task
    async def divide(number: int) -> float:
        return 12 / number

    first = await divide.kiq(1)
    prepared = [divide.message(number) for number in (2, 3, 4)]
    async with working(broker), asyncio.timeout(5):
        assert await first == 12
        rest = await broker.kiq_many(prepared)
        assert [await handle for handle in reversed(rest)] == [3, 4, 6]
        failing = divide.options(retry=None)
        with pytest.raises(ZeroDivisionError):
            await (await failing.kiq(0))
    assert [letter.task for letter in await broker.dead.list()] == [divide.name]


async def test_messages_that_were_made_before_the_opening() -> None:
    """A message knows its address before any connection, and its end is told after any number of them."""
    broker = ForgetfulBroker()

    @broker.task
    async def echo(number: int) -> int:
        return number

    messages = [echo.message(number) for number in range(3)]
    for message in messages:
        async with broker, working(broker), asyncio.timeout(5):
            [handle] = await broker.kiq_many([message])
            assert await handle == message.args[0]


async def test_an_end_that_overtakes_the_confirmation(broker: ForgetfulBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    """A result that is faster than the publisher's confirmation is not lost."""
    publish = ForgetfulTransport.publish
    is_told = asyncio.Event()
    told: list[str] = []
    take = Letterbox.take

    def noted(letterbox: Letterbox, id: str, record: bytes | None) -> None:
        take(letterbox, id, record)
        told.append(id)

    async def slow(transport: ForgetfulTransport, envelopes: Sequence[Envelope]) -> Sequence[Receipt]:
        receipts = await publish(transport, envelopes)
        await is_told.wait()
        return receipts

    @broker.task
    async def nothing() -> None: ...

    async with working(broker), asyncio.timeout(5):
        monkeypatch.setattr(ForgetfulTransport, "publish", slow)
        monkeypatch.setattr(Letterbox, "take", noted)
        publishing = asyncio.create_task(nothing.kiq())
        await wait_until(lambda: bool(broker.server.mailboxes), "the reply queue is there")
        await wait_until(lambda: bool(told), "its end is told")
        is_told.set()
        handle = await publishing
        assert handle.record is not None
        await handle


async def test_a_worker_alone_has_no_reply_queue(broker: ForgetfulBroker) -> None:
    """Nothing is declared for replies before something is published."""
    async with working(broker):
        pass
    assert not broker.server.mailboxes


async def test_what_needs_a_memory(broker: ForgetfulBroker) -> None:
    """Handles by id, status, events, progress, cancelling, own ids and the list of workers say what to add."""

    @broker.task
    async def nothing() -> None: ...

    handle = await nothing.kiq()
    asked = [
        handle.status(),
        handle.progress(),
        handle.cancel(),
        anext(handle.events()),
        nothing.handle(handle.id).result(),
        broker.handle(handle.id).result(timeout=0),
        nothing.options(id="order-17").kiq(),
        broker.kiq_many([nothing.options(id="order-17").message()]),
        broker.workers(),
    ]
    for each in asked:
        with pytest.raises(NotSupported, match=REMEDY):
            await each
    assert handle.is_new


async def test_progress_in_a_task(broker: ForgetfulBroker) -> None:
    """A task that reports progress which nobody could see is told so, at that call."""

    @broker.task(retry=None)
    async def work(ctx: Context = Depends()) -> None:
        with pytest.raises(NotSupported, match=REMEDY):
            await ctx.progress(1)

    async with working(broker), asyncio.timeout(5):
        await (await work.kiq())


async def test_without_results(broker: ForgetfulBroker) -> None:
    """With store_result=False nobody is told, and awaiting raises at once."""

    @broker.task(store_result=False)
    async def nothing() -> None: ...

    handle = await nothing.kiq()
    with pytest.raises(ResultMissing, match="store_result=False"):
        await handle


async def test_a_worker_that_keeps_no_result(broker: ForgetfulBroker) -> None:
    """Who waits is told that there is no result where only the worker's declaration says so."""
    worker = ForgetfulBroker(server=broker.server)

    @broker.task(name="work")
    async def publishers() -> None: ...

    @worker.task(name="work", store_result=False)
    async def workers() -> None: ...

    waited, other = await publishers.kiq(), await publishers.kiq()
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        waiting = group.create_task(_missing(waited))
        await wait_for_waits(broker)
        async with worker, working(worker, burst=True):
            pass
        await waiting
        with pytest.raises(ResultMissing, match="keeps no result"):
            await other


async def test_not_yet(broker: ForgetfulBroker) -> None:
    """Looking and waiting with a limit end in time; the call goes on, and is told when it ends."""

    @broker.task
    async def echo(number: int) -> int:
        return number

    handle = await echo.kiq(1)
    for timeout in (0, 0.01):
        with pytest.raises(ResultTimeout):
            await handle.result(timeout=timeout)
    async with working(broker, burst=True):
        pass
    await wait_until(lambda: handle.record is not None, "the end is told")
    assert (await handle.result(timeout=0)).value == 1


async def test_replies_that_were_lost(broker: ForgetfulBroker) -> None:
    """When the reply queue was lost, whoever waited or will wait for a call from before it learns that, and at once."""

    @broker.task
    async def echo(number: int) -> int:
        return number

    waited, unwaited = [await echo.kiq(number) for number in (1, 2)]
    waiting = asyncio.create_task(waited.result())
    await wait_for_waits(broker)
    broker.server.lose_replies()
    async with asyncio.timeout(5):
        for each in (waiting, waited.result(), unwaited.result(), unwaited.result(timeout=0)):
            with pytest.raises(ResultMissing, match="reply queue of this process was lost"):
                await each
        after = await echo.kiq(3)
        async with working(broker):
            assert await after == 3
    assert await unwaited == 2  # it was told all the same, for it ended later


@pytest.mark.parametrize("is_kept", [True, False])
@pytest.mark.parametrize("is_first", [True, False])
async def test_closing(broker: ForgetfulBroker, is_kept: bool, is_first: bool) -> None:
    """Who waits learns that the broker is closed; opened again it has what was told meanwhile, if anything has."""
    worker = ForgetfulBroker(server=broker.server)
    worker.task(name="echo")(_echo)
    echo = broker.task(name="echo")(_echo)
    handle = await echo.kiq(1)
    waiting = asyncio.create_task(handle.result())
    await wait_for_waits(broker)
    await broker.close()
    with pytest.raises(BrokerUnavailable, match="closed"):
        await waiting
    async with worker, working(worker, burst=True):
        pass
    if not is_kept:
        broker.server.mailboxes.clear()
    async with asyncio.timeout(5):
        after = None if is_first else await echo.kiq(2)
        if is_kept:
            assert await handle == 1
        else:
            with pytest.raises(ResultMissing, match="reply queue of this process was lost"):
                await handle
        async with worker, working(worker):
            assert await (after or await echo.kiq(2)) == 2


async def test_a_message_that_is_published_twice(broker: ForgetfulBroker) -> None:
    """The same message published again runs again: each of its handles is told of the first end."""
    runs = 0

    @broker.task
    async def number() -> int:
        nonlocal runs
        runs += 1
        return runs

    message = number.message()
    handles = [handle for _ in range(3) for handle in await broker.kiq_many([message])]
    async with working(broker, burst=True), asyncio.timeout(5):
        assert [await handle for handle in handles] == [1, 1, 1]
    assert runs == 3


async def test_expiry(broker: ForgetfulBroker) -> None:
    """A call that has expired is dropped by the worker that comes to it, and only then is who waits told."""

    @broker.task(expires=0.01)
    async def late() -> None: ...

    handle = await late.kiq()
    with pytest.raises(ResultTimeout):
        await handle.result(timeout=0.05)
    async with working(broker), asyncio.timeout(5):
        with pytest.raises(TaskExpired):
            await handle
        assert (await handle.result()).status is Status.EXPIRED


async def test_retries(broker: ForgetfulBroker) -> None:
    """A call is tried again until it ends, and its one end is told."""
    runs = 0

    @broker.task(retry=RetryPolicy(max_attempts=3, delay=0.01))
    async def flaky() -> int:
        nonlocal runs
        runs += 1
        if runs < 3:
            raise OSError
        return runs

    async with working(broker), asyncio.timeout(5):
        result = await (await flaky.kiq()).result()
    assert (result.value, result.attempts) == (3, 3)


async def test_a_task_that_awaits_another(broker: ForgetfulBroker) -> None:
    """A slot is lent out while a task waits, so that both end where one runs at a time."""

    @broker.task
    async def child() -> int:
        return 1

    @broker.task
    async def parent() -> int:
        return 1 + await (await child.kiq())

    async with working(broker, concurrency=1), asyncio.timeout(5):
        assert await (await parent.kiq()) == 2


async def test_poison(broker: ForgetfulBroker) -> None:
    """A call that three processes have died of goes to the dead letters, by the crashes that the server has counted."""

    @broker.task
    async def poison() -> None: ...

    handle = await poison.kiq()
    for _ in range(3):
        transport = ForgetfulTransport(broker.server)
        consumer = await transport.consumer("dying", ["default"], lease=1)
        assert len(await consumer.fetch({"default": 1}, 1)) == 1
        await transport.close()
    async with working(broker), asyncio.timeout(5):
        with pytest.raises(TaskFailed, match="3 processes have died"):
            await handle


async def test_stopping_hands_back(broker: ForgetfulBroker) -> None:
    """A worker that is stopped hands back what it runs, with no crash and no attempt used."""
    is_running = asyncio.Event()
    attempts: list[int] = []

    @broker.task
    async def slow(ctx: Context = Depends()) -> None:
        attempts.append(ctx.attempt)
        is_running.set()
        if len(attempts) == 1:
            await asyncio.Event().wait()

    handle = await slow.kiq()
    async with working(broker, shutdown_timeout=0):
        await is_running.wait()
    async with working(broker), asyncio.timeout(5):
        await handle
    assert attempts == [1, 1]


async def test_nothing_is_looked_up(broker: ForgetfulBroker) -> None:
    """However long a wait lasts, nobody asks: no task of the session is there for it."""

    @broker.task
    async def nothing() -> None: ...

    handle = await nothing.kiq()
    before = asyncio.all_tasks()
    waiting = asyncio.create_task(handle.result())
    await wait_for_waits(broker)
    assert asyncio.all_tasks() - before == {waiting}
    waiting.cancel()


async def test_counts(broker: ForgetfulBroker) -> None:
    """A queue is counted as far as it can be; the rest is None, and no guess."""

    @broker.task
    async def nothing() -> None: ...

    await nothing.kiq()
    [counts] = await broker.queue_counts()
    assert (counts.ready, counts.dead) == (1, 0)
    assert (counts.scheduled, counts.running, counts.workers) == (None, None, None)


def test_without_a_loop() -> None:
    """A script without a loop publishes and waits, and a forked process is told of its own calls alone."""
    program = """
import os, sys
from asyncq import ResultMissing, Worker
from tests.forgetful import ForgetfulBroker
broker = ForgetfulBroker()

@broker.task
async def echo(text: str) -> str:
    return text

ours = echo.message("ours").reply
handle = echo.handle_of(echo.message("a"))
if not (child := os.fork()):
    is_other = echo.message("theirs").reply != ours
    try:
        handle.result_sync(timeout=5)
    except ResultMissing as error:
        os._exit(is_other and "forked" in str(error))
    os._exit(2)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
handle = echo.kiq_sync("a")
broker.run_sync(Worker(broker, burst=True).run, "")
print(handle.result_sync(timeout=5).value)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("a\n", "")


async def _echo(number: int) -> int:
    return number


async def _missing(handle: Handle[None]) -> None:
    with pytest.raises(ResultMissing):
        await handle
