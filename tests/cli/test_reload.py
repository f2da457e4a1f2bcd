"""`asyncq worker --reload`: the code that was saved last is the code that runs."""

from pathlib import Path
from signal import SIGINT

import pytest

from asyncq import Broker
from tests.cli.programs import StartProgram
from tests.cli.shop import meet, runs_in, task


@pytest.fixture
def source(folder: Path) -> Path:
    return folder / "shop.py"


async def test_picks_up_a_change(asyncq: StartProgram, source: Path, shop: Broker) -> None:
    """A change restarts the worker, and Ctrl-C ends it with 0."""
    program = await asyncq("worker", "shop:broker", "--reload")
    await program.says("Ready.")
    assert await (await task(shop, "add").kiq(1, 2)) == 3

    source.write_text(source.read_text().replace("return a + b", "return 'new'"))
    await program.says("Changed: shop.py. Restarting.")
    await program.says("Ready.", times=2)

    assert await (await task(shop, "add").kiq(1, 2)) == "new"
    program.signal_all(SIGINT)
    assert await program.exits(timeout=2) == 0


async def test_lets_tasks_finish(asyncq: StartProgram, source: Path, folder: Path, shop: Broker) -> None:
    """A task that runs when the code changes finishes in the old process."""
    program = await asyncq("worker", "shop:broker", "--reload")
    handle = await meet(shop, folder)

    source.write_text(f"{source.read_text()}\n# changed\n")
    await program.says("Waiting up to 30 s for 1 running task")
    (folder / "a.goes-on").touch()

    assert await handle == runs_in(folder)[0]
    await program.says("Ready.", times=2)


async def test_waits_when_the_code_is_broken(asyncq: StartProgram, source: Path, shop: Broker) -> None:
    """Code that cannot be imported is shown, and the worker is back with the next change."""
    program = await asyncq("worker", "shop:broker", "--reload", "--processes", "2")
    await program.says("Ready.", times=2)
    good = source.read_text()

    source.write_text(f"{good}\n1 / 0\n")
    await program.says("ZeroDivisionError")
    await program.says("waiting for a change")
    source.write_text(good)
    await program.says("Ready.", times=4)

    assert await (await task(shop, "add").kiq(1, 2)) == 3


async def test_ctrl_c_while_it_waits(asyncq: StartProgram, source: Path) -> None:
    """Ctrl-C ends it with 0 also while it waits for a change."""
    source.write_text("1 / 0\n")
    program = await asyncq("worker", "shop:broker", "--reload")
    await program.says("waiting for a change")

    program.signal_all(SIGINT)

    assert await program.exits(timeout=2) == 0


async def test_missing_extra(asyncq: StartProgram, folder: Path) -> None:
    """Without watchfiles, --reload is answered with the line to type and exit code 2."""
    (folder / "watchfiles.py").write_text("raise ImportError\n")
    program = await asyncq("worker", "shop:broker", "--reload")

    assert await program.exits() == 2
    assert program.output == 'Error: --reload needs watchfiles, which is not installed: pip install "asyncq[reload]"\n'
