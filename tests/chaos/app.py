"""The application whose workers are killed: its tasks write down when they start and how they end."""

import asyncio
import mmap
import os
import resource
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from asyncq import (
    ConcurrencyLimit,
    Context,
    Depends,
    RateLimit,
    Reject,
    RetryPolicy,
    Snooze,
    Task,
    Unique,
    broker_from_url,
    current_context,
)
from asyncq.message import Message
from asyncq.rabbitmq import loans, sorting
from asyncq.turns import pass_turns
from tests.chaos.calls import CHILD, GROUPED, PER, RATED, SLOTS, SLOTTED, TURNS, UNIQUE, Call, Kind
from tests.chaos.journal import Journal
from tests.chaos.stalls import note_stalls

# A worker has some 500 MB of addresses; what is above, a hog may take, all but the rest of a block.
ADDRESSES = 2_000_000_000
BLOCK = 64_000_000
FOR_EVER = 600.0
SOON = RetryPolicy(max_attempts=5, delay=0.1, max_delay=0.5)
ONCE = {Kind.RETRIED, Kind.UNIQUE_RETRIED, Kind.GROUPED_RETRIED, Kind.SNOOZES, Kind.HOG, Kind.EXITS, Kind.STUCK}
"""Kinds that misbehave in their first run alone."""

FOLDER = Path(os.environ["CHAOS_FOLDER"])
CREW = os.environ["CHAOS_CREW"]
STORE = os.environ.get("CHAOS_STORE")

broker = broker_from_url(
    os.environ["CHAOS_URL"],
    namespace=os.environ["CHAOS_NAMESPACE"],
    connect_timeout=2,
    command_timeout=2,
    **({"store": STORE} if STORE else {}),
)
journal = Journal(FOLDER / "runs")

# A copy of a call that waits for a limit, or in the lane of its group, comes round after a minute, and after an hour at
# last: here all are gone soon. And a queue is one with groups for a minute.
loans.PARKED_ROUND_MS = 500
loans.PARKED_MS = 4_000
loans.LONGEST_ROUND_MS = 4_000
sorting.REMEMBERED = 1.0
note_stalls(journal)
resource.setrlimit(resource.RLIMIT_AS, (ADDRESSES, ADDRESSES))


class Base(BaseException):
    """An exception that is no Exception."""


def message_of(call: Call) -> Message:
    """Return the message that publishes a call."""
    task = TASKS.get(call.kind, run)
    further = [call.key, call.group] if call.kind in GROUPED else [call.key] if call.key else []
    return task.options(id=call.id, delay=call.delay or None).message(call.id, call.kind, call.seconds, *further)


@contextmanager
def noted(id: str, attempt: int, *, worker: int | None = None) -> Iterator[str]:
    """Write down a run, under a name that no other has; a run that ends without a second line was cut off."""
    run, pid = os.urandom(6).hex(), os.getpid()
    journal.write("start", id=id, run=run, pid=pid, worker=worker or pid, crew=CREW, attempt=attempt)
    how = "returned"
    try:
        yield run
    except BaseException as error:
        how = type(error).__name__
        raise
    finally:
        journal.write("end", id=id, run=run, how=how)


def is_first(id: str) -> bool:
    """Tell, once, that this call has never misbehaved, in whatever process it did."""
    try:
        (FOLDER / "misbehaved" / id).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


@broker.task(retry=SOON)
async def run(id: str, kind: str, seconds: float, context: Context = Depends()) -> list[Any]:
    with noted(id, context.attempt) as name:
        await behave(Kind(kind), id, seconds)
        return [id, name]


@broker.task(retry=SOON)
def run_in_thread(id: str, kind: str, seconds: float) -> list[Any]:
    with noted(id, current_context().attempt) as name:
        time.sleep(seconds)  # work that blocks, as long as the plan says: faults come during it
        return [id, name]


@broker.task(retry=SOON, runs_in="process")
def run_in_process(id: str, kind: str, seconds: float) -> list[Any]:
    with noted(id, current_context().attempt, worker=os.getppid()) as name:
        time.sleep(seconds)  # work that blocks, as long as the plan says: faults come during it
        if kind == Kind.PROCESS_EXITS and is_first(id):
            os._exit(33)
        return [id, name]


@broker.task(retry=None, timeout=0.3)
async def run_out_of_time(id: str, kind: str, seconds: float, context: Context = Depends()) -> None:
    with noted(id, context.attempt):
        await asyncio.sleep(FOR_EVER)  # until its time is over


async def run_with_key(id: str, kind: str, seconds: float, key: str, context: Context = Depends()) -> list[Any]:
    with noted(id, context.attempt) as name:
        await behave(Kind(kind), id, seconds)
        return [id, name]


async def run_in_group(
    id: str, kind: str, seconds: float, key: str, group: str, context: Context = Depends()
) -> list[Any]:
    return await run_with_key(id, kind, seconds, key, context)


@broker.task(retry=SOON)
async def tick(context: Context = Depends()) -> list[Any]:
    with noted(context.message.id, context.attempt) as name:
        return [context.message.id, name]


def tasks_with_terms() -> Mapping[Kind, Task[..., Any]]:
    """Declare the tasks whose calls have keys, or groups, as far as the broker can do what these are for."""
    can, tasks = broker.capabilities, dict[Kind, Task[..., Any]]()
    slot = ConcurrencyLimit(SLOTS, name="slots", key=lambda key, **_: key)
    if can.has_limits:
        turn = RateLimit(TURNS, per=PER, key=lambda key, **_: key)
        tasks |= dict.fromkeys(SLOTTED, broker.task(name="with_slot", retry=SOON, concurrency=slot)(run_with_key))
        tasks |= dict.fromkeys(RATED, broker.task(name="with_turn", retry=SOON, rate_limit=turn)(run_with_key))
    if can.has_uniqueness:
        only = Unique(by=("key",))
        tasks |= dict.fromkeys(UNIQUE, broker.task(name="unique", retry=SOON, unique=only)(run_with_key))
    if can.has_groups:
        grouped = broker.task(name="grouped", retry=SOON, group=lambda group, **_: group)
        slotted = broker.task(name="grouped_slotted", retry=SOON, group=lambda group, **_: group, concurrency=slot)
        tasks |= dict.fromkeys(GROUPED, grouped(run_in_group))
        tasks[Kind.GROUPED_SLOTTED] = slotted(run_in_group)
    return tasks


TASKS: Mapping[Kind, Task[..., Any]] = {
    Kind.THREAD: run_in_thread,
    Kind.PROCESS: run_in_process,
    Kind.PROCESS_EXITS: run_in_process,
    Kind.TIMES_OUT: run_out_of_time,
    **tasks_with_terms(),
}


async def behave(kind: Kind, id: str, seconds: float) -> None:
    match kind:
        case Kind.BLOCKS:
            time.sleep(seconds)  # noqa: ASYNC251 - the fault that is tested: the loop is blocked
        case Kind.NESTED:
            [child, _] = await (await run.options(id=id + CHILD).kiq(id + CHILD, Kind.QUICK, seconds))
            assert child == id + CHILD
        case _:
            await asyncio.sleep(seconds)  # the work itself
            misbehave(kind, id)
            await pass_turns()  # where one that has cancelled itself is cancelled


def misbehave(kind: Kind, id: str) -> None:
    misbehave_always(kind)
    if kind in ONCE and is_first(id):
        misbehave_once(kind)


def misbehave_always(kind: Kind) -> None:
    match kind:
        case Kind.FAILS:
            raise ValueError("fails for good")
        case Kind.REJECTED:
            raise Reject("not wanted")
        case Kind.SYSTEM_EXIT:
            raise SystemExit(3)
        case Kind.INTERRUPT:
            raise KeyboardInterrupt
        case Kind.BASE:
            raise Base
        case Kind.SELF_CANCEL:
            own = asyncio.current_task()
            assert own
            own.cancel()
        case Kind.POISON:
            os._exit(33)
        case _:
            pass


def misbehave_once(kind: Kind) -> None:
    match kind:
        case Kind.RETRIED | Kind.UNIQUE_RETRIED:
            raise OSError("fails once")
        case Kind.SNOOZES:
            raise Snooze(0.2)
        case Kind.HOG:
            take_all_memory()
        case Kind.EXITS:
            os._exit(33)
        case Kind.STUCK:
            time.sleep(FOR_EVER)  # the fault that is tested: a thread that nobody can end
        case _:
            pass


def take_all_memory() -> None:
    """End in MemoryError, with nothing left for whoever runs beside this. Touching it would take seconds."""
    taken: list[mmap.mmap] = []
    with suppress(OSError):
        while True:
            taken.append(mmap.mmap(-1, BLOCK))
    bytearray(BLOCK)
