"""From `app:broker` to the broker: every way to be wrong, and what the user is told."""

import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from asyncq import SQLiteBroker
from asyncq.cli.loading import ImportFailed, load_broker, load_module, put_first_on_path
from asyncq.errors import ConfigurationError, MissingExtra

BROKER = "from asyncq import SQLiteBroker\nbroker = SQLiteBroker('queue.db')\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that comes first on sys.path; modules imported from it are forgotten."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    put_first_on_path(tmp_path)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.fixture
def write(folder: Path) -> Callable[[str], str]:
    """Write a module of a name that was never used; return the name."""

    def write(text: str) -> str:
        name = f"shop_{uuid4().hex[:8]}"
        (folder / f"{name}.py").write_text(text)
        return name

    return write


def refusal(app: str, folder: Path) -> str:
    """Return the message with which an APP is refused."""
    with pytest.raises(ConfigurationError) as caught:
        load_broker(app, folder)
    return str(caught.value)


@pytest.mark.parametrize("attribute", ["broker", "settings.broker", "make", "settings.make"])
def test_finds_the_broker(folder: Path, write: Callable[[str], str], attribute: str) -> None:
    """APP names a broker, or a function or class without arguments that returns one, at any depth."""
    text = (
        "class settings:\n    broker = broker\n    @staticmethod\n    def make(): return broker\nmake = settings.make\n"
    )

    assert isinstance(load_broker(f"{write(BROKER + text)}:{attribute}", folder), SQLiteBroker)


@pytest.mark.parametrize("app", ["shop", "shop:", ":broker", ":"])
def test_no_module_and_attribute(folder: Path, app: str) -> None:
    """An APP without module, colon or attribute is answered with how it is spelled."""
    assert refusal(app, folder) == (
        f"APP is module:attribute, for example 'app:broker' for the broker of app.py; got {app!r}."
    )


@pytest.mark.parametrize("app", ["shop/tasks.py:broker", "./shop/tasks:broker"])
def test_file_instead_of_module(folder: Path, app: str) -> None:
    """A path to a file is answered with the module that was probably meant."""
    assert refusal(app, folder).endswith(f"got a file, {app!r}. Try 'shop.tasks:broker'.")


def test_no_such_module(folder: Path, write: Callable[[str], str]) -> None:
    """A module that is not there is answered with the folder that was looked in and near names."""
    name = write(BROKER)

    message = refusal(f"{name[:-1]}:broker", folder)

    assert message.startswith(f"There is no module {name[:-1]!r}. Looked in {folder} first (--app-dir")
    assert message.endswith(f"Near it: {name!r}.")


def test_no_such_module_in_a_package(folder: Path) -> None:
    """A module that is not in its package is answered with near names in that package."""
    (folder / "boutique").mkdir()
    (folder / "boutique" / "__init__.py").touch()
    (folder / "boutique" / "tasks.py").touch()

    message = refusal("boutique.task:broker", folder)

    assert message == (
        f"There is no module 'boutique.task' in the package 'boutique' ({folder / 'boutique'}). "
        "Near it: 'boutique.tasks'."
    )


def test_module_taken_for_a_package(folder: Path, write: Callable[[str], str]) -> None:
    """A dotted name below a plain module is answered with what that module is."""
    name = write(BROKER)

    assert refusal(f"{name}.tasks:broker", folder) == (
        f"There is no module '{name}.tasks': {name!r} is a module, not a package."
    )


def test_no_such_attribute(folder: Path, write: Callable[[str], str]) -> None:
    """An attribute that is not there is answered with near names and the brokers of the module."""
    name = write(BROKER)

    assert refusal(f"{name}:brokr", folder) == (
        f"{name!r} has no attribute 'brokr'. Near it: 'broker'. Brokers in {name!r}: 'broker'."
    )


def test_no_such_dotted_attribute(folder: Path, write: Callable[[str], str]) -> None:
    """In a dotted attribute, the part that is not there is named."""
    name = write("class settings: pass\n")

    assert refusal(f"{name}:settings.broker", folder) == f"'{name}.settings' has no attribute 'broker'."


@pytest.mark.parametrize(
    ("attribute", "what"),
    [
        ("number", "of type int, not a broker."),
        ("task", "of type AsyncTask, not a broker."),
        ("make_nothing", "of type NoneType, not a broker."),
        ("make_from", "a function that needs arguments. It must be a broker, or return one when called with none."),
        ("Maker", "the class Maker that needs arguments. It must be a broker, or return one when called with none."),
        ("make_later", "a coroutine function. A broker needs no await: make it a plain function."),
    ],
)
def test_not_a_broker(folder: Path, write: Callable[[str], str], attribute: str, what: str) -> None:
    """What is not a broker is named by its kind, with the brokers that are there."""
    name = write(
        f"{BROKER}number = 3\n"
        "@broker.task\nasync def task() -> None: ...\n"
        "def make_nothing(): ...\n"
        "def make_from(url): ...\n"
        "async def make_later(): ...\n"
        "class Maker:\n    def __init__(self, url): ...\n"
    )

    message = refusal(f"{name}:{attribute}", folder)

    assert message.startswith(f"'{name}:{attribute}' is {what}")


def test_memory_broker(folder: Path, write: Callable[[str], str]) -> None:
    """A broker that no other process can reach is refused, with those that can be."""
    name = write("from asyncq import MemoryBroker\nbroker = MemoryBroker()\n")

    message = refusal(f"{name}:broker", folder)

    assert message.startswith(f"'{name}:broker' is a MemoryBroker, which lives in the process that made it")
    assert 'Use SQLiteBroker("asyncq.db") or RedisBroker(url)' in message


@pytest.mark.parametrize(
    ("text", "last_line"),
    [
        ("def price():\n    return 1 / 0\nprice()\n", "ZeroDivisionError: division by zero"),
        ("import nowhere_to_be_found\n", "ModuleNotFoundError: No module named 'nowhere_to_be_found'"),
        ("def broken(:\n", "SyntaxError: invalid syntax"),
        ("import sys\nsys.exit('no')\n", "SystemExit: no"),
    ],
)
def test_module_that_raises(folder: Path, write: Callable[[str], str], text: str, last_line: str) -> None:
    """A module that raises while it is imported is told with its traceback, without frames that are not the user's."""
    name = write(text)

    with pytest.raises(ImportFailed, match=f"Importing '{name}' failed") as caught:
        load_module(name, folder)

    assert caught.value.__cause__
    shown = "".join(traceback.format_exception(caught.value.__cause__))
    assert f'{name}.py"' in shown
    assert "importlib" not in shown
    assert "loading.py" not in shown
    assert shown.rstrip().endswith(last_line)


def test_factory_that_raises(folder: Path, write: Callable[[str], str]) -> None:
    """A factory that raises is told with its traceback."""
    name = write("def make(): raise KeyError('URL')\n")

    with pytest.raises(ImportFailed, match=f"Calling '{name}:make' failed"):
        load_broker(f"{name}:make", folder)


def test_missing_extra(folder: Path, write: Callable[[str], str]) -> None:
    """A broker whose client library is not installed is told in one sentence with the line to type."""
    name = write("from asyncq.errors import MissingExtra\nraise MissingExtra('pip install \"asyncq[redis]\"')\n")

    with pytest.raises(MissingExtra, match="pip install"):
        load_module(name, folder)


def test_loads_no_client_library() -> None:
    """A supervisor, which never loads an application, carries no client library with it."""
    found = subprocess.run(
        [sys.executable, "-c", "import asyncq.cli, sys; print(*{'redis', 'watchfiles', 'sqlite3'} & {*sys.modules})"],
        check=True,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
    )

    assert found.stdout.strip() == ""
