"""Recording an exception, and raising it again elsewhere."""

import sys
from types import ModuleType

import pytest

from asyncq.errors import TaskFailed, TaskTimeout
from asyncq.failure import Failure, exception_of, failure_of


class Custom(Exception):
    """An exception that comes back as itself."""


class NeedsTwo(Exception):
    """An exception whose arguments do not tell how to build it."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one}-{two}")


class BadText(Exception):
    """An exception that cannot even be printed."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


def recorded(error: BaseException) -> Failure:
    """Return the failure of an exception that was really raised."""
    try:
        raise error
    except BaseException as caught:
        return failure_of(caught)


def test_the_tasks_own_exception() -> None:
    """An exception whose class is loaded here comes back as itself, with the remote traceback as a note."""
    error = exception_of(recorded(Custom("text", 3)))
    assert type(error) is Custom
    assert error.args == ("text", 3)
    assert "Remote traceback" in error.__notes__[0]
    assert "raise error" in error.__notes__[0]


@pytest.mark.parametrize(
    "error",
    [NeedsTwo(1, 2), Custom(object()), Custom((1, 2)), SystemExit(3), StopIteration(1), KeyboardInterrupt()],
    ids=lambda error: type(error).__name__,
)
def test_what_cannot_be_rebuilt(error: BaseException) -> None:
    """What is no ordinary exception, or does not take its recorded arguments back unchanged, is a TaskFailed."""
    rebuilt = exception_of(recorded(error))
    assert type(rebuilt) is TaskFailed
    assert type(error).__name__ in rebuilt.type_name


def test_an_exception_without_a_text() -> None:
    """An exception that cannot be printed is recorded all the same."""
    failure = recorded(BadText())
    assert failure.message == "<BadText.__str__ raised RuntimeError>"


def test_nothing_is_imported() -> None:
    """A class whose module is not loaded here is not looked for."""
    assert "wsgiref.validate" not in sys.modules
    error = exception_of(Failure("wsgiref.validate:WSGIWarning", "text", ["text"]))
    assert isinstance(error, TaskFailed)
    assert "wsgiref.validate" not in sys.modules


@pytest.mark.parametrize(
    "name", ["", ":", "builtins", "builtins:", "builtins:print", "builtins:int", "os:system", "a:b.c"]
)
def test_names_that_are_no_exception(name: str) -> None:
    """A name that is no exception's is never called."""
    assert isinstance(exception_of(Failure(name, "text", ["text"])), TaskFailed)


def test_our_own_errors() -> None:
    """Errors of asyncq itself come back as themselves."""
    error = exception_of(recorded(TaskTimeout("TaskTimeout", "too long")))
    assert isinstance(error, TaskTimeout)
    assert (error.type_name, error.message, str(error)) == ("TaskTimeout", "too long", "TaskTimeout: too long")


def test_a_hostile_module(monkeypatch: pytest.MonkeyPatch) -> None:
    """A constructor that raises anything at all gives a TaskFailed."""

    class Explosive(Exception):
        def __init__(self, *args: object) -> None:
            raise RuntimeError("boom")

    module = ModuleType("hostile")
    monkeypatch.setattr(module, "Explosive", Explosive, raising=False)
    monkeypatch.setitem(sys.modules, "hostile", module)
    assert isinstance(exception_of(Failure("hostile:Explosive", "text", ["text"])), TaskFailed)
