"""Declaring tasks: the decorator, and what of it a type checker sees."""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, ParamSpec, Protocol, TypeVar, cast, get_args, overload

from asyncq.broker.planning import DeclaredPlans
from asyncq.broker.priorities import Priorities
from asyncq.broker.registry import Registry, injected_parameters, name_of
from asyncq.errors import ConfigurationError
from asyncq.limits import ConcurrencyLimit, LimitId, Numbers, RateLimit, shown_limit
from asyncq.message import Message
from asyncq.queues import DEFAULT_QUEUE
from asyncq.retry import RetryPolicy
from asyncq.schedules import Schedule
from asyncq.tasks import AsyncTask, FailedCall, FailureHandler, SyncTask, Task, TaskOptions
from asyncq.tasks.calls import Calls
from asyncq.tasks.options import RunsIn
from asyncq.tasks.unique import Unique
from asyncq.transport import Capabilities, without_groups, without_limits

P = ParamSpec("P")
R = TypeVar("R")

_SAMPLE = FailedCall(
    id="id",
    task="module:task",
    queue=DEFAULT_QUEUE,
    args=[],
    kwargs={},
    labels={},
    reason="",
    error_type="",
    error_message="",
    traceback="",
    attempts=1,
    enqueued_at=None,
    failed_at=None,
    worker="",
)
"""What an `on_failure` is tried with when it is declared."""


class TaskDecorator(Protocol):
    """What `@broker.task(...)` is: it turns a function into a task of the same arguments and result."""

    @overload  # the first that matches holds: a coroutine function is meant as one
    def __call__(  # pyright: ignore[reportOverlappingOverload] - see above
        self, function: Callable[P, Coroutine[Any, Any, R]], /
    ) -> AsyncTask[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> SyncTask[P, R]: ...


class Declaring(ABC):
    """The part of a broker that is there before any connection: its tasks, and what they say of their calls.

    Attributes:
        tasks: what is declared, by name.
        defaults: options of every task that does not say otherwise.
        declared_schedules: what `schedule=` says, by name.
    """

    capabilities: Capabilities

    def __init__(self, defaults: TaskOptions, priorities: Priorities) -> None:
        if defaults.on_failure is not None:
            raise ConfigurationError(
                "defaults= cannot name an on_failure: it is a task of this broker, which has none yet. "
                "Name it where tasks are declared: @broker.task(on_failure=...)."
            )
        self.tasks = Registry()
        self.defaults = defaults
        self.declared_schedules = DeclaredPlans()
        self._known_queues = {DEFAULT_QUEUE}
        self._priorities = priorities
        self._limits: dict[LimitId, Numbers] = {}

    @overload
    def task(  # pyright: ignore[reportOverlappingOverload] - as in TaskDecorator
        self, function: Callable[P, Coroutine[Any, Any, R]], /
    ) -> AsyncTask[P, R]: ...
    @overload
    def task(self, function: Callable[P, R], /) -> SyncTask[P, R]: ...
    @overload
    def task(
        self,
        *,
        name: str | None = None,
        runs_in: RunsIn | None = None,
        schedule: Schedule | Sequence[Schedule] | None = None,
        queue: str = ...,
        priority: int = ...,
        retry: RetryPolicy | None = ...,
        timeout: float | None = ...,
        expires: float | None = ...,
        result_ttl: float = ...,
        store_result: bool = ...,
        local_concurrency: int | None = ...,
        max_crashes: int | None = ...,
        on_failure: FailureHandler | None = ...,
        unique: Unique | None = ...,
        rate_limit: RateLimit | Sequence[RateLimit] | None = ...,
        concurrency: ConcurrencyLimit | None = ...,
        group: Callable[..., object] | None = ...,
        labels: Mapping[str, Any] = ...,
    ) -> TaskDecorator: ...
    def task(
        self,
        function: Callable[..., Any] | None = None,
        *,
        name: str | None = None,
        runs_in: RunsIn | None = None,
        schedule: Schedule | Sequence[Schedule] | None = None,
        **options: Any,
    ) -> Any:
        """Declare a function as a task: `@broker.task`, or with options `@broker.task(queue="mail", timeout=30)`.

        Args:
            function: a function or coroutine function.
            name: what messages call it by, for ever; by default `module:function`.
            runs_in: where a worker runs it. Coroutine functions run on the "loop", the default for them; others in a
                "thread", on the "loop" if they never block, or in a "process" of a pool if they compute for long.
            schedule: when schedulers call it, `Cron("0 2 * * *")`; several in a list. None: never.
            options: see `TaskOptions`; what is not given is as the broker's `defaults` say.

        Raises:
            ConfigurationError: an unknown option, a value that makes no sense, a priority that its queue lacks, or a
                schedule whose arguments do not fit.
            NotSupported: a schedule, and the broker remembers none.
            DuplicateTask: another function has that name.
            NotSupported: unique calls, where nobody remembers who has a key; limits, or groups, where queues know none.
        """
        changed = self.defaults.changed(options)

        def declare(function: Callable[..., Any]) -> Task[..., Any]:
            task = self._declared(function, name, runs_in, changed)
            self._note_limits(task)
            self.tasks.add(task)
            self._known_queues.add(task.queue)
            self._plan(task, schedule)
            return task

        return declare if function is None else declare(function)

    @property
    def limits(self) -> Mapping[LimitId, Numbers]:
        """The limits that tasks name, and what they allow."""
        return self._limits

    def _need_limits(self, what: str) -> None:
        if not self.capabilities.has_limits:
            raise without_limits(what)

    def _agree(self, id: LimitId, numbers: Numbers, who: str) -> None:
        self._need_limits(who)
        self._note_limit(id, numbers, who)

    def _note_limits(self, task: Task[..., Any]) -> None:
        for id, numbers in task.terms.limits.items():
            self._note_limit(id, numbers, f"Task {task.name!r}")

    def _note_limit(self, id: LimitId, numbers: Numbers, who: str) -> None:
        """Raise ConfigurationError where one limit is to have two numbers."""
        other = self._limits.setdefault(id, numbers)
        if other != numbers:
            raise ConfigurationError(
                f"{who} declares {shown_limit(id, numbers)}; elsewhere it is {shown_limit(id, other)}. "
                "Limits of one name are one limit: give them the same numbers, or another name=."
            )

    def keeps_result(self, message: Message) -> bool:
        """Tell whether the result of this call is kept."""
        overrides = message.overrides
        if overrides is not None and overrides.store_result is not None:
            return overrides.store_result
        task = self.tasks.get(message.task)
        return (task.declared if task else self.defaults).store_result

    def result_ttl_ms(self, message: Message) -> int:
        """Return how long the result of this call is kept."""
        overrides = message.overrides
        if overrides is not None and overrides.result_ttl is not None:
            return round(overrides.result_ttl * 1000)
        task = self.tasks.get(message.task)
        return round((task.declared if task else self.defaults).result_ttl * 1000)

    def _declared(
        self, function: Callable[..., Any], name: str | None, runs_in: RunsIn | None, options: TaskOptions
    ) -> Task[..., Any]:
        is_async = inspect.iscoroutinefunction(function)
        if not is_async and not inspect.isroutine(function):
            raise ConfigurationError(f"@broker.task takes a function; got {function!r}.")
        if inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function):
            raise ConfigurationError(f"{name_of(function)} is a generator: a task returns one value. Return a list.")
        if runs_in not in (None, *get_args(RunsIn)):
            raise ConfigurationError(
                f"{name_of(function)}: runs_in= is 'loop', 'thread' or 'process'; got {runs_in!r}."
            )
        if is_async and runs_in in ("thread", "process"):
            raise ConfigurationError(
                f"{name_of(function)} is a coroutine function: it runs in the loop. "
                f"Make it a plain function (def) to run it in a {runs_in}."
            )
        name = name or name_of(function)
        self._priorities.check(name, options.queue, options.priority, ConfigurationError)
        self._check_handler(options.on_failure)
        if options.rate_limits or options.concurrency:
            self._need_limits(f"The limits of task {name!r}")
        if options.group is not None and not self.capabilities.has_groups:
            raise without_groups(name)
        kind = AsyncTask[..., Any] if is_async else SyncTask[..., Any]
        return kind(
            function,
            name,
            cast("Calls", self),
            options,
            runs_in=runs_in or ("loop" if is_async else "thread"),
            injected=injected_parameters(function),
        )

    def _plan(self, task: Task[..., Any], schedule: Schedule | Sequence[Schedule] | None) -> None:
        if schedule is not None and not self.capabilities.has_schedules:
            raise self.capabilities.without_memory(f"schedule= of {task.name!r}")
        if schedule is not None or self.declared_schedules:
            self.declared_schedules.add(task, schedule if schedule is not None else (), self._check_call)

    @abstractmethod
    def _check_call(self, message: Message) -> object:
        """Raise PublishRefused for a call that this broker would not take."""

    def _check_handler(self, handler: FailureHandler | None) -> None:
        """Raise ConfigurationError for an `on_failure` that no worker could call."""
        if handler is None:
            return
        if handler.name not in self.tasks:
            raise ConfigurationError(f"on_failure={handler!r} is no task of this broker.")
        try:
            sample = handler.message(_SAMPLE)
        except TypeError as error:
            raise ConfigurationError(
                f"on_failure={handler!r} has to take one argument that is annotated `FailedCall`: {error}"
            ) from error
        if sample.unique is not None:
            raise ConfigurationError(
                f"on_failure={handler!r} is unique: of two failures it would be told of one. Declare it without, or "
                "give it as on_failure=handler.options(unique=None)."
            )
        if sample.digest:
            raise ConfigurationError(
                f"on_failure={handler!r} has an id of its own: the first failure would take it, and nobody would be "
                "told of the next. Leave options(id=...) out."
            )
