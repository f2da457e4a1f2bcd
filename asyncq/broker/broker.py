"""The broker: tasks on one side, a transport and a store on the other, and the calls between them."""

import asyncio
import logging
import os
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

from asyncq.broker.cancelling import Cancelling
from asyncq.broker.chunk import Chunk, chunked
from asyncq.broker.dead import DeadLetters
from asyncq.broker.declaring import Declaring
from asyncq.broker.inspection import QueueCounts, WorkerInfo, counts_of, workers_of
from asyncq.broker.portal import Portal, refuse_on_loop, running_loop
from asyncq.broker.receipts import is_new
from asyncq.broker.session import Session
from asyncq.clock import SystemClock
from asyncq.errors import ConfigurationError, NotSupported, PublishError, PublishRefused
from asyncq.message import Message, encode_message
from asyncq.queues import DEFAULT_QUEUE, MAX_PRIORITY, Queue
from asyncq.result import Record
from asyncq.store import CallKey, Sighting, Store
from asyncq.tasks import Handle, TaskOptions
from asyncq.tasks.calls import Waiting
from asyncq.transport import Capabilities, Envelope, Transport

T = TypeVar("T")

logger = logging.getLogger("asyncq.broker")

MANY = 500
"""Messages of `kiq_many` that go in one round trip."""


class Broker(Declaring, ABC):
    """Publishes calls of tasks and knows how they stand.

    `async with broker:` opens and closes it; used before, it opens itself. It lives on one event loop at a time: when
    that loop is closed, or the process was forked, it opens anew; on a second living loop it raises ConfigurationError.

    Args:
        namespace: applications with different namespaces on one server never see each other.
        defaults: options of every task that does not say otherwise.
        queues: declared queues; others need no declaration.
        connect_timeout: seconds to reach the server.
        command_timeout: seconds the server may take to answer.
        max_message_size: bytes a message may have; a larger one is refused before it is sent.
        max_result_size: bytes a result may have; a task that returns a larger one fails.
        dead_letter_ttl: seconds a dead letter is kept.
        dead_letter_cap: dead letters that are kept of each queue; beyond it the oldest make room.
    """

    capabilities: Capabilities

    def __init__(
        self,
        *,
        namespace: str = "asyncq",
        defaults: TaskOptions | None = None,
        queues: Iterable[Queue] = (),
        connect_timeout: float = 5.0,
        command_timeout: float = 5.0,
        max_message_size: int = 1_000_000,
        max_result_size: int = 1_000_000,
        dead_letter_ttl: float = 30 * 24 * 3600.0,
        dead_letter_cap: int = 10_000,
    ) -> None:
        super().__init__(defaults or TaskOptions())
        self.namespace = _checked_namespace(namespace)
        self.queues: Mapping[str, Queue] = {queue.name: queue for queue in queues}
        self.connect_timeout = _positive("connect_timeout", connect_timeout)
        self.command_timeout = _positive("command_timeout", command_timeout)
        self.max_message_size = _positive("max_message_size", max_message_size)
        self.max_result_size = _positive("max_result_size", max_result_size)
        self.dead_letter_ttl_ms = round(_positive("dead_letter_ttl", dead_letter_ttl) * 1000)
        self.dead_letter_cap = _positive("dead_letter_cap", dead_letter_cap)
        self._session: Session | None = None
        self._portal = Portal(self._leave_portal)
        self._clock = SystemClock()
        self._warned: set[str] = set()
        self._refusal = ""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.describe()}>"

    @abstractmethod
    def describe(self) -> str:
        """Return where the messages are, as a URL without its password."""

    @abstractmethod
    def connect(self) -> tuple[Transport, Store]:
        """Return a transport and a store that have not been opened, for one event loop."""

    # Opening and closing

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def open(self) -> Session:
        """Connect, unless that is done. Raises BrokerUnavailable with what was tried."""
        if self._refusal:
            raise NotSupported(self._refusal)
        session = self._living_session()
        if session is None:
            await self._leave_portal()
            session = self._living_session()  # somebody else may have been waiting, too, and was faster
        if session is None:
            session = self._session = Session(*self.connect(), self)
        await session.open()
        return session

    def refuse_to_open(self, why: str) -> None:
        """Have whoever uses the broker in this process told why it cannot be: a NotSupported."""
        self._refusal = why

    async def close(self) -> None:
        """Disconnect. Handles and tasks stay good: the next use opens the broker again.

        Raises:
            ConfigurationError: it is open on another loop that is running.
        """
        await self._leave_portal()
        session = self._session
        if session is None or session.pid != os.getpid() or not session.loop.is_running():
            self._session = None
        elif session.loop is asyncio.get_running_loop():
            self._session = None
            await session.close()
        else:
            raise self._elsewhere()

    def is_open(self) -> bool:
        """Tell whether the broker is open on the running loop."""
        session = self._session
        return session is not None and session.is_open and session.loop is running_loop()

    # Publishing

    async def kiq_many(self, messages: Iterable[Message]) -> list[Handle[Any]]:
        """Publish many calls in few round trips; return their handles in order.

        Not atomic. Publishing the same messages again is safe: what was published finds itself.

        Raises:
            PublishError: some were not published; it holds the handles and the errors by index.
            TypeError: something is no message.
            Exception: whatever `messages` raises; those before it may have been published.
        """
        session = await self.open()
        handles: list[Handle[Any]] = []
        errors: dict[int, Exception] = {}
        ahead: Chunk | None = None
        try:
            for some in chunked(messages, MANY):
                before, ahead = ahead, self._sent(session, some, len(handles))  # while the one before is under way
                handles += ahead.handles
                errors |= await before.confirmed() if before else {}
        except Exception:  # the caller's own generator: nothing is under way any more when that comes out
            if ahead:
                await ahead.confirmed()
            raise
        errors |= await ahead.confirmed() if ahead else {}
        if errors:
            raise PublishError({index: each for index, each in enumerate(handles) if index not in errors}, errors)
        return handles

    def handle(self, id: str) -> Handle[Any]:
        """Return the handle of a call by its id alone, in any process."""
        return Handle(self, None, id, None)

    async def publish(self, message: Message, *, is_fresh: bool) -> bool:
        """Publish one message; return whether its id was new. Raises what `kiq` raises."""
        session = self._session
        if session is None or not self.is_open():
            session = await self.open()
        receipt = await session.publisher.put(self._envelope(message, is_fresh=is_fresh))
        return is_new(message, receipt)

    def _envelope(self, message: Message, *, is_fresh: bool) -> Envelope:
        queue = message.queue
        if queue not in self._known_queues:
            self._warn_unknown_queue(queue)
        if message.priority > 0:
            self._check_priority(message)
        body = encode_message(message)
        if len(body) > self.max_message_size:
            raise PublishRefused(
                f"A call of {message.task!r} has {len(body):,} bytes; this broker takes {self.max_message_size:,} "
                "(max_message_size). Store large data elsewhere and pass its address."
            )
        return Envelope(message.id, queue, body, message.priority, message.due_ms, is_fresh)

    def _sent(self, session: Session, messages: Sequence[Message], start: int) -> Chunk:
        """Send what of these messages can be sent."""
        for message in messages:
            if not isinstance(message, Message):  # pyright: ignore[reportUnnecessaryIsInstance] - a call, say
                raise TypeError(f"kiq_many() takes messages, as task.message(...) makes them; got {message!r}.")
        handles = [self._handle_of(message) for message in messages]
        refused: dict[int, Exception] = {}
        envelopes: list[Envelope] = []
        for index, message in enumerate(messages):
            try:
                envelopes.append(self._envelope(message, is_fresh=False))
            except PublishRefused as error:
                refused[index] = error
        return Chunk(start, messages, handles, refused, session.publisher.put_all(envelopes))

    def _check_priority(self, message: Message) -> None:
        queue = self.queues.get(message.queue)
        highest = queue.max_priority if queue else MAX_PRIORITY
        if message.priority > highest:
            raise PublishRefused(
                f"Queue {message.queue!r} takes priorities up to {highest}; {message.task!r} has {message.priority}."
            )

    def _handle_of(self, message: Message) -> Handle[Any]:
        task = self.tasks.get(message.task)
        return Handle(self, None, message.id, message.queue) if task is None else task.handle_of(message)

    def _warn_unknown_queue(self, queue: str) -> None:
        self._known_queues.add(queue)
        if queue not in self.queues and queue != DEFAULT_QUEUE:
            logger.warning("Publishing to queue %r, which no declared task or Queue names.", queue)

    # Looking after it

    @property
    def dead(self) -> DeadLetters:
        """The calls that failed for good: to be listed, looked at, run again and dropped."""
        return DeadLetters(self._transport, self._all_queues)

    async def queue_counts(self) -> Sequence[QueueCounts]:
        """Return how each queue stands: those that tasks and Queues name, and those that were ever published to."""
        return await counts_of(await self._transport(), await self._all_queues())

    async def workers(self) -> Sequence[WorkerInfo]:
        """Return the workers of this namespace, wherever they run, as they last told of themselves."""
        return await workers_of(await self._transport())

    async def _transport(self) -> Transport:
        return (await self.open()).transport

    async def _all_queues(self) -> Sequence[str]:
        return sorted({*self._known_queues, *self.queues, *await (await self._transport()).known_queues()})

    # What tasks and handles ask (`asyncq.tasks.calls.Calls`)

    def now_ms(self) -> int:
        """Return the time by the server's clock, or by this machine's while there is no connection."""
        session = self._session
        return session.transport.now_ms() if session is not None and session.is_open else self._clock.now_ms()

    def reply_address(self) -> str:
        """Return the address to publish with; empty while nobody here has waited for a result."""
        session = self._session
        return session.subscription.address if session is not None else ""

    def expect(self, waiting: Waiting) -> None:
        """Keep what is told about a call for as long as `waiting` lives."""
        if self._session is not None:
            self._session.waiters.expect(waiting)

    async def wait(self, waiting: Waiting, *, timeout: float | None, wait_for_publish: float) -> Record:
        """Return how a call ended. Raises ResultTimeout and ResultMissing."""
        session = await self.open()
        return await session.waiters.wait(waiting, timeout=timeout, wait_for_publish=wait_for_publish)

    async def look(self, key: CallKey) -> Sighting | None:
        """Return what is known of a call."""
        return await (await self.open()).subscription.look(key)

    async def expire(self, key: CallKey, message: Message) -> bool:
        """End a call whose time to start is over; return False when it has started or ended otherwise."""
        return await (await self.open()).expiring.expire(key, message)

    async def cancel(self, key: CallKey) -> bool:
        """End a call as CANCELLED; return False if it has ended otherwise. Raises ResultMissing."""
        session = await self.open()
        return await Cancelling(session.transport, session.subscription.look, self).cancel(key)

    async def watch(self, key: CallKey) -> AsyncIterator[Sighting | None]:
        """Yield what is known of a call now and after each change, until it has ended."""
        session = await self.open()
        async for sighting in session.followers.follow(key):
            yield sighting

    def run_sync(self, call: Callable[[], Awaitable[T]], instead: str) -> T:
        """Run a coroutine from a thread without a running loop, on the broker's living loop or on one of its own."""
        refuse_on_loop(instead)
        session = self._session
        is_alive = session is not None and session.pid == os.getpid() and session.loop.is_running()
        return self._portal.run(call, session.loop if session is not None and is_alive else None)

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

    def _living_session(self) -> Session | None:
        """Return the session of this loop and process, None where one is to be opened."""
        session = self._session
        if session is None or session.pid != os.getpid() or session.loop.is_closed():
            return None
        if session.loop is not asyncio.get_running_loop():
            if self._portal.owns(session.loop):
                return None
            raise self._elsewhere()
        return session if session.is_usable else None

    async def _leave_portal(self) -> None:
        """Close the session that `kiq_sync` opened: from now on its calls run where the next one is."""
        session = self._session
        if session is None or session.pid != os.getpid() or not self._portal.owns(session.loop):
            return
        try:
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(session.close(), session.loop))
        finally:
            if self._session is session:
                self._session = None

    def _elsewhere(self) -> ConfigurationError:
        return ConfigurationError(
            f"{self!r} is open on another event loop that is still alive. A broker lives on one loop at a time: "
            "close it there first, or give each loop a broker of its own."
        )


def _checked_namespace(namespace: str) -> str:
    if not namespace or any(character in "{}:*?[]\\ " for character in namespace):
        raise ConfigurationError(
            f"A namespace is a non-empty word without any of {{}}:*?[]\\ and space; got {namespace!r}."
        )
    return namespace


def _positive(name: str, value: Any) -> Any:
    if not value > 0:
        raise ConfigurationError(f"{name} is more than 0; got {value!r}.")
    return value
