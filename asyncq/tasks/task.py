"""The task: a function that can be called here or published to run in a worker."""

import zlib
from collections.abc import Callable, Coroutine, Mapping, Sequence
from copy import copy
from datetime import datetime
from typing import Any, Generic, ParamSpec, Self, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from asyncq.errors import ConfigurationError
from asyncq.message import PROTOCOL_VERSION, Message, UniqueKey, new_id
from asyncq.retry import RetryPolicy
from asyncq.serializers import ArgumentCodec, ResultCodec
from asyncq.tasks.calls import Calls
from asyncq.tasks.handle import Handle
from asyncq.tasks.limiting import TermsMaker
from asyncq.tasks.options import CallOptions, RunsIn, TaskOptions
from asyncq.tasks.unique import Unique

P = ParamSpec("P")
R = TypeVar("R")


class Task(Generic[P, R]):
    """A declared function. A plain call runs it here; `kiq` publishes the call.

    Attributes:
        name: what messages call it by.
        function: the plain function.
        declared: its options.
        runs_in: where a worker runs it.
        injected: parameters that the worker fills.
        terms: makes the terms of its calls.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        name: str,
        calls: Calls,
        options: TaskOptions,
        *,
        runs_in: RunsIn,
        injected: Sequence[str] = (),
    ) -> None:
        self.name = name
        self.function = function
        self.declared = options
        self.runs_in: RunsIn = runs_in
        self.injected = tuple(injected)
        self.arguments = ArgumentCodec(function, injected=self.injected)
        self.returned = ResultCodec(function)
        self.__doc__ = function.__doc__
        self.__name__ = getattr(function, "__name__", name)
        self.__wrapped__ = function
        self._calls = calls
        self.terms = TermsMaker(name, options, self.arguments)
        self._use(CallOptions())

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}>"

    @property
    def queue(self) -> str:
        """Where calls go."""
        return self._queue

    async def kiq(self, *args: P.args, **kwargs: P.kwargs) -> Handle[R]:
        """Publish a call; return once the broker has confirmed it.

        Raises:
            TypeError: the arguments do not fit the signature, or would not come back equal.
            PublishRefused: the message is too large, its queue is full, or the server is out of memory.
            DuplicateId: the id is taken by another call, or the unique key is, and `on_duplicate` is "raise".
            ConfigurationError: the call is debounced, and has no delay.
            NotSupported: an id was given, and the broker has no memory of calls; or its queue has no priorities.
            BrokerUnavailable: no confirmation came in time; publishing again under the same id is safe. Without a
                memory the call may run twice then.
        """
        message = self.message(*args, **kwargs)
        handle = self.handle_of(message)
        handle.confirm(await self._calls.publish(message, is_fresh=not message.digest))
        return handle

    def message(self, *args: P.args, **kwargs: P.kwargs) -> Message:
        """Return the message that `kiq` would publish, for `broker.kiq_many`. Raises TypeError as `kiq` does."""
        sent, named = self.arguments.encode(args, kwargs)
        calls, call = self._calls, self._call
        now_ms = calls.now_ms()
        due_ms = 0
        if call.delay is not None:
            due_ms = now_ms + round(call.delay * 1000)
        elif call.at is not None:
            due_ms = max(0, round(call.at.timestamp() * 1000))
        message = Message(
            v=PROTOCOL_VERSION,
            id=call.id or new_id(),
            task=self.name,
            args=sent,  # pyright: ignore[reportArgumentType] - a tuple encodes as a list does
            kwargs=named,  # pyright: ignore[reportArgumentType] - any mapping encodes alike
            queue=self._queue,
            priority=self._priority,
            enqueued_ms=now_ms,
            due_ms=due_ms,
            expires_ms=max(now_ms, due_ms) + self._expires_ms if self._expires_ms is not None else 0,
            reply=calls.reply_address() if self._keeps else "",
            labels=self._labels,
            digest=digest_of(self.name, sent, named) if call.id else "",
            overrides=self._overrides,
        )
        if self._unique is None and not self.terms.is_any:
            return message
        # Apart: a call in Python of more than 15 arguments by name takes twice as long.
        return msgspec.structs.replace(
            message,
            unique=None if self._unique is None else self._unique_key(self._unique, args, kwargs),
            terms=self.terms.make(args, kwargs) if self.terms.is_any else None,
        )

    def handle_of(self, message: Message) -> Handle[R]:
        """Return the handle of a message of this task that is about to be published here.

        It is expected from now on: the result may be told before the publisher has read its confirmation.
        """
        is_told = bool(message.reply) and message.reply == self._calls.reply_address()
        handle: Handle[R] = Handle(
            self._calls,
            self.returned,
            message.id,
            message.queue,
            keeps=self._keeps,
            is_told=is_told,
            expires_ms=message.expires_ms,
            slots=message.terms.slots if message.terms is not None else (),
        )
        if is_told:
            self._calls.expect(handle)
        return handle

    def handle(self, id: str) -> Handle[R]:
        """Return the handle of a call of this task by its id, in any process."""
        return Handle(self._calls, self.returned, id, self._queue)

    def kiq_sync(self, *args: P.args, **kwargs: P.kwargs) -> Handle[R]:
        """Do what `kiq` does, from a thread without a running loop."""
        return self._calls.run_sync(lambda: self.kiq(*args, **kwargs), "await task.kiq(...)")

    def options(
        self,
        *,
        delay: float | None = None,
        at: datetime | None = None,
        queue: str | None = None,
        priority: int | None = None,
        expires: float | None | UnsetType = UNSET,
        id: str | None = None,
        retry: RetryPolicy | None | UnsetType = UNSET,
        timeout: float | None | UnsetType = UNSET,
        result_ttl: float | None = None,
        store_result: bool | None = None,
        unique: Unique | None | UnsetType = UNSET,
        labels: Mapping[str, Any] | None = None,
    ) -> Self:
        """Return this task with other options for its calls; see `CallOptions`. The task itself stays as it is.

        A further `options` starts from the task's declaration again.

        Raises:
            ConfigurationError: a value that makes no sense.
            NotSupported: unique calls, where nobody remembers who has a key.
        """
        other = copy(self)
        other._use(
            CallOptions(
                delay=delay,
                at=at,
                queue=queue,
                priority=priority,
                expires=expires,
                id=id,
                retry=retry,
                timeout=timeout,
                result_ttl=result_ttl,
                store_result=store_result,
                unique=unique,
                labels=labels,
            )
        )
        return other

    def _use(self, call: CallOptions) -> None:
        """Work out once what every message of these options has in common."""
        declared = self.declared
        expires = declared.expires if call.expires is UNSET else call.expires
        self._call = call
        self._queue = declared.queue if call.queue is None else call.queue
        self._priority = declared.priority if call.priority is None else call.priority
        self._expires_ms = None if expires is None else round(expires * 1000)
        self._keeps = declared.store_result if call.store_result is None else call.store_result
        self._labels = {**declared.labels, **(call.labels or {})}
        self._overrides = call.overrides()
        self._unique = declared.unique if call.unique is UNSET else call.unique
        if self._unique is not None:
            self._calls.check_unique(self.name)
            self._unique.check_parameters(self.name, self.arguments)

    def _unique_key(self, unique: Unique, args: tuple[object, ...], kwargs: Mapping[str, object]) -> UniqueKey:
        if unique.on_duplicate == "debounce" and self._call.delay is None:
            raise ConfigurationError(
                f"Task {self.name!r} is debounced: say for how long, with {self.name}.options(delay=5).kiq(...)."
            )
        return unique.key_of(self.name, self.arguments, args, kwargs)


class AsyncTask(Task[P, R]):
    """A task that is a coroutine function."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]:
        """Call the plain function, here and now."""
        return self.function(*args, **kwargs)


class SyncTask(Task[P, R]):
    """A task that is a plain function; a worker runs it in a thread."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the plain function, here and now."""
        return self.function(*args, **kwargs)


def digest_of(name: str, args: object, kwargs: object) -> str:
    """Return a fingerprint that tells two calls apart which claim one id; it guards against slips, not attacks."""
    return f"{zlib.crc32(msgspec.json.encode((name, args, kwargs), order='deterministic')):08x}"
