"""The broker: tasks on one side, a transport and a store on the other, and the calls between them."""

from abc import abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

from msgspec.structs import replace

from asyncq.broker.bulk import Bulk
from asyncq.broker.declaring import Declaring
from asyncq.broker.envelopes import Envelopes
from asyncq.broker.letterbox import Letterbox
from asyncq.broker.limiting import Limiting
from asyncq.broker.ownslots import refuse_own_slots
from asyncq.broker.priorities import Priorities
from asyncq.broker.receipts import existing
from asyncq.broker.schedules import Schedules
from asyncq.broker.session import Session
from asyncq.broker.sessions import Sessions
from asyncq.broker.upkeep import Upkeep
from asyncq.clock import SystemClock
from asyncq.errors import ConfigurationError
from asyncq.ledger import Ledger
from asyncq.limits import LimitOffice
from asyncq.message import Message
from asyncq.queues import Queue
from asyncq.result import Record
from asyncq.store import CallKey, Sighting, Store
from asyncq.tasks import Handle, TaskOptions
from asyncq.tasks.calls import Waiting
from asyncq.transport import Timetable, Transport

T = TypeVar("T")


class Broker(Declaring, Limiting, Upkeep):
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
        self.queues: Mapping[str, Queue] = {queue.name: queue for queue in queues}
        priorities = Priorities(self.queues, has_priorities=self.capabilities.has_priorities)
        super().__init__(defaults or TaskOptions(), priorities)
        self.namespace = _checked_namespace(namespace)
        self.connect_timeout = _positive("connect_timeout", connect_timeout)
        self.command_timeout = _positive("command_timeout", command_timeout)
        self.max_message_size = _positive("max_message_size", max_message_size)
        self.max_result_size = _positive("max_result_size", max_result_size)
        self.dead_letter_ttl_ms = round(_positive("dead_letter_ttl", dead_letter_ttl) * 1000)
        self.dead_letter_cap = _positive("dead_letter_cap", dead_letter_cap)
        self._clock = SystemClock()
        self._envelopes = Envelopes(
            self.queues, self._known_queues, priorities, self.capabilities, max_size=self.max_message_size
        )
        self._letterbox = None if self.capabilities.has_memory else Letterbox()
        self._sessions = Sessions(self._new_session, self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.describe()}>"

    @abstractmethod
    def describe(self) -> str:
        """Return where the messages are, and what else remembers calls, as URLs without passwords."""

    @abstractmethod
    def connect(self) -> tuple[Transport, Store]:
        """Return a transport and a store that have not been opened, for one event loop.

        A store without a memory (`Replies`) listens at `reply_address`.
        """

    def connect_ledger(self) -> tuple[Ledger, Store]:
        """Return a ledger for a broker whose messages are elsewhere, and its store, not opened, for one event loop.

        Raises:
            ConfigurationError: it has none.
        """
        raise ConfigurationError(f"A {type(self).__name__} cannot remember the calls of another broker.")

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
        return await self._sessions.open()

    def refuse_to_open(self, why: str) -> None:
        """Have whoever uses the broker in this process told why it cannot be: a NotSupported."""
        self._sessions.refuse(why)

    async def close(self) -> None:
        """Disconnect. Handles and tasks stay good: the next use opens the broker again.

        Raises:
            ConfigurationError: it is open on another loop that is running.
        """
        await self._sessions.close()

    def is_open(self) -> bool:
        """Tell whether the broker is open on the running loop."""
        return self._sessions.here() is not None

    def _new_session(self) -> Session:
        return Session(*self.connect(), self, self._letterbox)

    # Publishing

    async def kiq_many(self, messages: Iterable[Message]) -> list[Handle[Any]]:
        """Publish many calls in few round trips; return their handles in order.

        Not atomic. Publishing the same messages again is safe: what was published finds itself; on a broker without a
        memory of calls it runs twice.

        Raises:
            PublishError: some were not published; it holds the handles and the errors by index.
            TypeError: something is no message.
            Exception: whatever `messages` raises; those before it may have been published.
        """
        session = await self._sessions.open()
        if session.limits_declared < len(self._limits):
            await session.declare(self._limits)
        return await Bulk(session.publisher, self._envelopes, self._handle_of).publish(messages)

    def handle(self, id: str) -> Handle[Any]:
        """Return the handle of a call by its id alone, in any process of a broker that remembers calls."""
        return Handle(self, None, id, None)

    async def publish(self, message: Message, *, is_fresh: bool) -> CallKey | None:
        """Publish one message; return the call that is there already instead, None: none. Raises what `kiq` raises."""
        session = self._sessions.here() or await self._sessions.open()
        if session.limits_declared < len(self._limits):
            await session.declare(self._limits)
        receipt = await session.publisher.put(self._envelopes.make(message, is_fresh=is_fresh))
        return existing(message, receipt)

    def check_unique(self, task: str) -> None:
        """Raise NotSupported where nobody remembers who has a unique key."""
        if not self.capabilities.has_uniqueness:
            raise self.capabilities.without_uniqueness(task)

    @property
    def schedules(self) -> Schedules:
        """What is called when: to be added to, listed, paused, removed and run now."""
        return Schedules(self._timetable, self.declared_schedules, self._check_call, self._publish_now)

    async def _publish_now(self, message: Message) -> Handle[Any]:
        told = replace(message, reply=self.reply_address() if self.keeps_result(message) else "")
        handle = self._handle_of(told)
        handle.confirm(await self.publish(told, is_fresh=True))
        return handle

    async def _timetable(self) -> Timetable:
        return (await self._transport()).timetable()

    def _check_call(self, message: Message) -> object:
        return self._envelopes.make(message, is_fresh=True)

    def _handle_of(self, message: Message) -> Handle[Any]:
        task = self.tasks.get(message.task)
        return Handle(self, None, message.id, message.queue) if task is None else task.handle_of(message)

    async def _transport(self) -> Transport:
        return (await self._sessions.open()).transport

    async def limit_office(self) -> LimitOffice:
        return (await self._sessions.open()).transport.limits()

    def _own_queues(self) -> Sequence[str]:
        return sorted({*self._known_queues, *self.queues})

    # What tasks and handles ask (`asyncq.tasks.calls.Calls`)

    def now_ms(self) -> int:
        """Return the time by the server's clock, or by this machine's while there is no connection."""
        session = self._sessions.current
        return session.transport.now_ms() if session is not None and session.is_open else self._clock.now_ms()

    def reply_address(self) -> str:
        """Return the address to publish with; empty while nobody here has waited for a result that can be looked up."""
        if self._letterbox is not None:
            return self._letterbox.address
        session = self._sessions.current
        return session.subscription.address if session is not None else ""

    def expect(self, waiting: Waiting) -> None:
        """Keep what is told about a call for as long as `waiting` lives."""
        session = self._sessions.current
        if self._letterbox is not None:
            self._letterbox.expect(waiting)
        elif session is not None:
            session.waiters.expect(waiting)

    async def wait(self, waiting: Waiting, *, timeout: float | None, wait_for_publish: float) -> Record:
        """Return how a call ended. Raises ResultTimeout, ResultMissing, and ConfigurationError (`refuse_own_slots`)."""
        if waiting.slots and waiting.record is None:
            refuse_own_slots(waiting)
        session = await self._sessions.open()
        return await session.waiters.wait(waiting, timeout=timeout, wait_for_publish=wait_for_publish)

    async def look(self, key: CallKey) -> Sighting | None:
        """Return what is known of a call. Raises NotSupported where nothing is remembered."""
        self._need_memory("status() and progress()")
        return await (await self._sessions.open()).subscription.look(key)

    async def expire(self, key: CallKey, message: Message) -> bool:
        """End a call whose time to start is over; return False when it has started or ended otherwise."""
        return await (await self._sessions.open()).expiring.expire(key, message)

    async def reschedule(self, key: CallKey, due_ms: int) -> bool:
        """Give a call that waits another time; return False where it runs. Raises ResultMissing and NotSupported."""
        self._need_memory("reschedule()")
        return await (await self._sessions.open()).rescheduling.reschedule(key, due_ms)

    async def cancel(self, key: CallKey) -> bool:
        """End a call as CANCELLED; return False if it has ended otherwise. Raises ResultMissing and NotSupported."""
        self._need_memory("cancel()")
        return await (await self._sessions.open()).cancelling.cancel(key)

    async def watch(self, key: CallKey) -> AsyncIterator[Sighting | None]:
        """Yield what is known of a call now and after each change, until it has ended. Raises NotSupported."""
        self._need_memory("events()")
        session = await self._sessions.open()
        async for sighting in session.followers.follow(key):
            yield sighting

    def run_sync(self, call: Callable[[], Awaitable[T]], instead: str) -> T:
        """Run a coroutine from a thread without a running loop, on the broker's living loop or on one of its own."""
        return self._sessions.run_sync(call, instead)


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
