"""Tasks that run in processes: a module, because those import it."""

import logging
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any
from uuid import UUID

from asyncq import Context, Depends, MemoryBroker, Reject, Retry, RetryPolicy, Snooze, current_context
from tests.forgetful import ForgetfulBroker

broker = MemoryBroker(max_result_size=1_000_000)
forgetful = ForgetfulBroker()

hoard: list[bytes] = []


class Oddity(Exception):
    """An exception that JSON cannot rebuild."""

    def __init__(self, *, why: str) -> None:
        super().__init__(why, object())


@broker.task(runs_in="process", retry=None)
def square(number: int) -> int:
    return number * number


@broker.task(runs_in="process", retry=None)
def where() -> list[int]:
    return [os.getpid(), os.getpgid(0), os.getppid(), threading.active_count()]


@broker.task(runs_in="process", retry=None)
def grow(megabytes: int) -> int:
    hoard.append(b"x" * (megabytes * 1024 * 1024))
    return os.getpid()


@broker.task(runs_in="process", retry=None)
def kinds(id: UUID, data: bytes) -> tuple[UUID, bytes]:
    return id, data


@broker.task(runs_in="process", retry=None)
def too_much() -> str:
    return "x" * 2_000_000


@broker.task(runs_in="process", retry=None)
def strange() -> Any:
    return object()


@broker.task(runs_in="process", retry=RetryPolicy(delay=0.01, never=(LookupError,), on=(Oddity, LookupError)))
def fail(how: str, ctx: Context = Depends()) -> int:
    match how:
        case "never":
            raise KeyError("not here")
        case "not on":
            raise OSError("not that")
        case "reject":
            raise ExceptionGroup("in a group", [Reject("no good")])
        case "retry" if ctx.attempt == 1:
            raise Retry(delay=0.01)
        case "snooze" if ctx.message.labels.get("snoozed") is None and not Path(ctx.labels["file"]).exists():
            Path(ctx.labels["file"]).touch()
            raise Snooze(0.01)
        case "oddity" if ctx.attempt == 1:
            raise Oddity(why="odd")
        case "exit":
            sys.exit(3)
        case _:
            return ctx.attempt


@broker.task(runs_in="process", retry=None)
def look(ctx: Context = Depends()) -> list[Any]:
    ctx.progress_sync(1, 2, "half")
    ctx.log.warning("seen")
    logging.getLogger("app").info("quiet")
    assert current_context() is ctx
    while not Path(ctx.labels["file"]).exists():
        time.sleep(0.005)  # between two looks: only files tell a process
    return [ctx.message.id, ctx.attempt, dict(ctx.labels), ctx.is_cancelled]


@broker.task(runs_in="process", retry=None)
def publish() -> None:
    square.kiq_sync(2)


@broker.task(runs_in="process", retry=None)
def die(how: str = "exit") -> None:
    if how == "exit":
        os._exit(7)
    os.kill(os.getpid(), 9)


@broker.task(runs_in="process", retry=None, max_crashes=None)
def die_on() -> None:
    os._exit(7)


@broker.task(runs_in="process", retry=None, timeout=0.3)
def too_long(file: str, seconds: float = 60) -> None:
    # with a program of its own, which must not outlive it
    child = subprocess.Popen(["sleep", str(seconds)])
    Path(file).write_text(f"{os.getpid()} {child.pid}")
    time.sleep(seconds)  # past its time


@broker.task(runs_in="process", retry=None)
def compute(file: str) -> None:
    Path(file).write_text(str(os.getpid()))
    while True:
        pass


@broker.task(runs_in="process", retry=None, timeout=0.3)
def leave_group(file: str) -> None:
    Path(file).write_text(str(os.getpid()))
    os.setpgid(0, os.getpgid(os.getppid()))
    time.sleep(60)  # past its time


@broker.task(runs_in="process", retry=None)
def break_output() -> int:
    class Broken:
        def write(self, text: str) -> int:
            return len(text)

        def flush(self) -> None:
            raise RuntimeError("broken")

    sys.stdout = Broken()
    return os.getpid()


@broker.task(runs_in="process", retry=None)
def leave_reporter(folder: str, ctx: Context = Depends()) -> str:
    def report() -> None:
        number = 0
        while not Path(folder, "ended").exists():
            number += 1
            ctx.progress_sync(number, note="left")

    threading.Thread(target=report, daemon=True).start()
    while not Path(folder, "goes-on").exists():
        time.sleep(0.005)  # between two looks
    return "x" * 900_000


@broker.task(runs_in="process", retry=None)
def report_twice(folder: str, ctx: Context = Depends()) -> None:
    ctx.progress_sync(1)
    ctx.progress_sync(2)
    while not Path(folder, "seen").exists():
        time.sleep(0.005)  # between two looks


@broker.task(runs_in="process", retry=None)
def report_in_a_fork(ctx: Context = Depends()) -> int:
    ctx.progress_sync(1)
    pid = os.fork()
    if pid == 0:
        ctx.progress_sync(2)
        os._exit(5)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@forgetful.task(runs_in="process", retry=None)
def reports(ctx: Context = Depends()) -> None:
    ctx.progress_sync(1)
