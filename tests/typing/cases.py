# pyright: strict, reportUnnecessaryTypeIgnoreComment=error
"""Programs for the type checker. A mistake carries an ignore, which is an error where the mistake is not found."""

from typing import assert_type

from asyncq import (
    AsyncTask,
    Context,
    Cron,
    Depends,
    Event,
    Every,
    Handle,
    MemoryBroker,
    Message,
    Result,
    ScheduleInfo,
    SyncTask,
)

broker = MemoryBroker()


@broker.task
async def add(a: int, b: int) -> int:
    return a + b


@broker.task(queue="mail", timeout=30)
async def send(user_id: int, body: str = "", ctx: Context = Depends()) -> None:
    await ctx.progress(1, 2)


@broker.task
def double(number: int) -> float:
    return 2.0 * number


@broker.task(schedule=[Cron("@daily", tz="Europe/Prague"), Every(30, catch_up="all")])
async def clean() -> int:
    return 1


def tenant_of(user_id: int, **_: object) -> int:
    return user_id


@broker.task(group=tenant_of)
async def import_file(user_id: int, name: str) -> bytes:
    return name.encode()


async def right() -> None:
    """Names, arguments and results keep their types on the whole way."""
    task: AsyncTask[[int, int], int] = add
    sync_task: SyncTask[[int], float] = double
    del task, sync_task
    assert_type(await add(1, 2), int)
    assert_type(double(1), float)
    handle = await add.kiq(1, b=2)
    assert_type(handle, Handle[int])
    assert_type(await handle, int)
    assert_type(await handle.result(timeout=5), Result[int])
    assert_type((await handle.result()).value, int | None)
    assert_type(add.message(1, 2), Message)
    assert_type(await add.options(delay=30, id="order-17").kiq(1, 2), Handle[int])
    assert_type(await double.kiq(3), Handle[float])
    assert_type(add.handle("order-17"), Handle[int])
    assert_type(add.kiq_sync(1, 2), Handle[int])
    async for event in handle.events():
        assert_type(event, Event[int])
    assert_type(await clean(), int)
    assert_type(await broker.schedules.add(add.options(queue="slow"), Every(30, name="a", args=(1, 2))), ScheduleInfo)
    await send.kiq(1, body="x")
    assert_type(await import_file.kiq(1, "a.csv"), Handle[bytes])


async def wrong() -> None:
    """Each of these is found."""
    await add.kiq(1)  # pyright: ignore[reportCallIssue]
    await add.kiq(1, "2")  # pyright: ignore[reportArgumentType]
    await add.kiq(1, c=2)  # pyright: ignore[reportCallIssue]
    add.options(dealy=3)  # pyright: ignore[reportCallIssue]
    add.message("1", 2)  # pyright: ignore[reportArgumentType]
    broker.task(schedule="@daily")  # pyright: ignore[reportArgumentType]
    Every(30, catch_up="some")  # pyright: ignore[reportArgumentType]
    await broker.schedules.add(print, Every(30, name="a"))  # pyright: ignore[reportArgumentType]
    broker.task(group="user_id")  # pyright: ignore[reportArgumentType]
    broker.task(timout=3)  # pyright: ignore[reportCallIssue]
