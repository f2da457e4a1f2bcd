"""The application that the tests of the command line start, and how they publish to it."""

from pathlib import Path
from typing import Any

from asyncq import Broker, Handle, Task
from tests.waiting import wait_until

APP = """
import asyncio
import os
import time
from pathlib import Path

from asyncq import broker_from_url

broker = broker_from_url({url!r}, namespace={namespace!r}, **{options!r})


@broker.task(name="add")
async def add(a: int, b: int) -> int:
    return a + b


@broker.task(name="mail.send", queue="mail")
async def send() -> str:
    return "sent"


@broker.task(name="fail", retry=None)
async def fail() -> None:
    raise ValueError("no")


@broker.task(name="meet")
async def meet(name: str) -> int:
    # says that it runs, and goes on when the test lets it
    with Path(f"{name}.runs").open("a") as file:
        file.write(f"{os.getpid()}\\n")
    while not Path(f"{name}.goes-on").exists():
        await asyncio.sleep(0.005)  # between two looks: only files tell other processes
    return os.getpid()


@broker.task(name="block")
async def block(seconds: float) -> None:
    Path("block.runs").touch()
    time.sleep(seconds)  # the fault that is tested: the loop is blocked


@broker.task(name="hang", runs_in="thread")
def hang(seconds: float) -> None:
    Path("hang.runs").touch()
    time.sleep(seconds)  # the fault that is tested: a thread that hangs
"""

PLANT = """
import logging
import os
import time
from pathlib import Path

from shop import broker, send

hoard = []


@broker.task(name="stick", retry=None, timeout=0.1)
def stick() -> None:
    time.sleep(600)  # the fault that is tested: a thread that is past its time


@broker.task(name="rely")
async def rely() -> str:
    handle = await send.kiq()
    Path("rely.runs").touch()
    return await handle


@broker.task(name="pid")
async def pid() -> int:
    return os.getpid()


@broker.task(name="grow")
async def grow(megabytes: int) -> int:
    hoard.append(b"x" * (megabytes * 1024 * 1024))
    return os.getpid()


@broker.task(name="spin", runs_in="process")
def spin(name: str) -> int:
    print(f"{name} spins in {__name__}")
    logging.getLogger("shop").info("%s is logged", name)
    with Path(f"{name}.runs").open("a") as file:
        file.write(f"{os.getpid()}\\n")
    while not Path(f"{name}.goes-on").exists():
        pass
    return os.getpid()
"""

STORE = " with a store"

ON_BOTH = ["sqlite", "redis"]
ON_ALL = [*ON_BOTH, "rabbitmq", f"rabbitmq{STORE}"]
WITH_MEMORY = [*ON_BOTH, f"rabbitmq{STORE}"]
"""What `parametrize("url", ..., indirect=True)` takes."""


def write_app(folder: Path, url: str, namespace: str, **options: Any) -> None:
    """Write the application to `folder/shop.py`, and a module with more of its tasks to `folder/plant.py`."""
    source = APP.replace("{url!r}", repr(url)).replace("{namespace!r}", repr(namespace))
    source = source.replace("{options!r}", repr(options))
    (folder / "shop.py").write_text(source)
    (folder / "plant.py").write_text(PLANT)


def task(broker: Broker, name: str, **options: Any) -> Task[..., Any]:
    """Declare a task of the application, for publishing only."""

    async def function(*args: object) -> Any: ...

    return broker.tasks.get(name) or broker.task(name=name, **options)(function)


async def meet(shop: Broker, folder: Path, name: str = "a", *, where: str = "meet") -> Handle[Any]:
    """Start a task that goes on when `folder/NAME.goes-on` is there ("spin": in a process); return when it runs."""
    handle = await task(shop, where).kiq(name)
    await wait_until(lambda: bool(runs_in(folder, name)), f"task {name} runs")
    return handle


def runs_in(folder: Path, name: str = "a") -> list[int]:
    """Return the processes in which the task `meet(name)` was started, in order."""
    diary = folder / f"{name}.runs"
    return [int(line) for line in diary.read_text().splitlines()] if diary.exists() else []
