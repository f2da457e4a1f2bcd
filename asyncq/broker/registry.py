"""The registry: which functions are tasks, and under which names."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from asyncq.context import Context, is_dependency
from asyncq.errors import ConfigurationError, DuplicateTask, UnknownTask, near_names
from asyncq.modules import lasting_name
from asyncq.tasks import Task


class Registry(Mapping[str, Task[..., Any]]):
    """The tasks of a broker, by name."""

    def __init__(self) -> None:
        self._tasks: dict[str, Task[..., Any]] = {}

    def __getitem__(self, name: str) -> Task[..., Any]:
        return self._tasks[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tasks)

    def __len__(self) -> int:
        return len(self._tasks)

    def add(self, task: Task[..., Any]) -> None:
        """Register a task. Raises DuplicateTask when another function has its name."""
        other = self._tasks.get(task.name)
        if other is not None and not _is_same(other.function, task.function):
            raise DuplicateTask(
                f"Two tasks are named {task.name!r}: {_where(other.function)} and {_where(task.function)}. "
                "Give one of them another name=."
            )
        self._tasks[task.name] = task

    def find(self, name: str) -> Task[..., Any]:
        """Return the task of this name. Raises UnknownTask, naming near ones."""
        try:
            return self._tasks[name]
        except KeyError:
            raise UnknownTask(
                f"Task {name!r} is not registered here.{near_names(name, self._tasks)} "
                "Is the module that declares it imported by the app, or named on the worker's command line?"
            ) from None


def name_of(function: Callable[..., Any]) -> str:
    """Return `module:function`; a function of the program that was started goes by the path of its file.

    `__main__` would name another module in every process, so that no worker could find the task.
    """
    return f"{lasting_name(function.__module__)}:{function.__qualname__}"


def injected_parameters(function: Callable[..., Any]) -> list[str]:
    """Return the names of the parameters marked `Depends()`; each must be annotated `Context`."""
    injected: list[str] = []
    for name, parameter in inspect.signature(function).parameters.items():
        if not is_dependency(parameter.default):
            continue
        if parameter.annotation not in (Context, "Context", "asyncq.Context"):
            raise ConfigurationError(
                f"{_where(function)}: parameter {name!r} = Depends() is annotated {parameter.annotation!r}; "
                "only `Context` can be filled."
            )
        injected.append(name)
    return injected


def _is_same(one: Callable[..., Any], other: Callable[..., Any]) -> bool:
    """Tell whether these are one function, declared twice because its module was loaded twice."""
    return one.__code__.co_filename == other.__code__.co_filename and one.__qualname__ == other.__qualname__


def _where(function: Callable[..., Any]) -> str:
    code = function.__code__
    return f"{function.__qualname__} ({code.co_filename}:{code.co_firstlineno})"
