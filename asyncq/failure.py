"""A failure: an exception as it is recorded where it was raised, and raised again where its call is awaited."""

import traceback
from inspect import getattr_static
from typing import Any

import msgspec
import orjson

from asyncq.errors import TaskFailed
from asyncq.modules import lasting_name, loaded_module

MAX_TEXT = 16_000
"""Characters that are kept of an exception's text, of its arguments as JSON (else none of them), and of its traceback:
the end of that one, where the fault is."""

_NOTHING_IN_SILENCE = (
    orjson.OPT_PASSTHROUGH_SUBCLASS | orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS
)


class Failure(msgspec.Struct, frozen=True, omit_defaults=True):
    """An exception as it is recorded.

    Attributes:
        type: `module:QualifiedName` of its class.
        message: its text.
        args: what to rebuild it from; None where JSON cannot hold them.
        traceback: formatted, as the worker saw it; empty where nothing was raised.
    """

    type: str
    message: str = ""
    args: list[Any] | None = None
    traceback: str = ""


def failure_of(error: BaseException) -> Failure:
    """Return the record of an exception, with its traceback and what it can be rebuilt from."""
    trace = "".join(traceback.format_exception(error))
    return Failure(
        type=type_name_of(error),
        message=text_of(error),
        args=_portable(error),
        traceback=_encodable(trace[-MAX_TEXT:]),
    )


def type_name_of(error: BaseException) -> str:
    """Return the `module:QualifiedName` of an exception's class."""
    kind = type(error)
    return f"{lasting_name(kind.__module__)}:{kind.__qualname__}"


def text_of(value: object) -> str:
    """Return the text of what a user's code gave, bounded and such that it can be encoded, whatever its class does."""
    try:
        text = str(value)
    except Exception as fault:
        text = f"<{type(value).__name__}.__str__ raised {type(fault).__name__}>"
    return _encodable(text[:MAX_TEXT])


def exception_of(failure: Failure) -> Exception:
    """Return the exception that a recorded failure is raised as, its remote traceback added as a note.

    It is the task's own where this process has already loaded its class and that class, an ordinary exception, takes
    the recorded arguments back unchanged; else a `TaskFailed`. Nothing is imported because a message names it.
    """
    error = _rebuilt(failure) or TaskFailed(failure.type.replace(":", "."), failure.message)
    if failure.traceback:
        error.add_note(f"Remote traceback:\n{failure.traceback.rstrip()}")
    return error


def _rebuilt(failure: Failure) -> Exception | None:
    kind = _loaded_class(failure.type)
    if kind is None or failure.args is None:
        return None
    try:
        error = kind(*failure.args)
        return error if type(error) is kind and list(error.args) == failure.args else None
    except Exception:  # the class is the user's, and so is whatever its __init__ raises
        return None


def _loaded_class(name: str) -> type[Exception] | None:
    module_name, _, path = name.partition(":")
    found: object = loaded_module(module_name)
    for part in path.split("."):
        # Not getattr(): a module may answer it by importing something, because a message names it.
        found = getattr_static(found, part, None)
    if not isinstance(found, type) or not issubclass(found, Exception):
        return None
    # Raised inside a coroutine, these two would end the caller's own iteration instead of reporting anything.
    return None if issubclass(found, StopIteration | StopAsyncIteration) else found


def _encodable(text: str) -> str:
    """Return a text with its lone surrogates, as file names may have them, written out."""
    return text.encode("utf-8", "backslashreplace").decode()


def _portable(error: BaseException) -> list[Any] | None:
    """Return the arguments as JSON gives them back, or None where they would not come back equal."""
    try:
        data = orjson.dumps(error.args, option=_NOTHING_IN_SILENCE)
        portable = orjson.loads(data) if len(data) <= MAX_TEXT else None
        return portable if portable == list(error.args) else None
    except Exception:  # the class and its arguments are the user's, and so is their ==
        return None
