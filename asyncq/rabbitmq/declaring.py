"""Declaring: what a topology asks for is made on the server, or looked for there, once in a process."""

import asyncio
import re
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TypeAlias

from aiormq.abc import AbstractChannel
from aiormq.exceptions import ChannelAccessRefused, ChannelNotFoundEntity, ChannelPreconditionFailed

from asyncq.errors import ConfigurationError
from asyncq.rabbitmq.delays import Route, Rung, rungs_up_to
from asyncq.rabbitmq.faults import is_node_down
from asyncq.rabbitmq.topology import Binding, Declaration, Exchange, Queue, Topology, text

CHANNELS = 4
"""A channel does one thing after the other; a quorum queue takes the server 4 ms."""

MAX_LINES = 12
"""Of what is missing, in an error: without the ladder of delays that is a hundred queues."""

OpenChannel: TypeAlias = Callable[[], Awaitable[AbstractChannel]]
Step: TypeAlias = Callable[[AbstractChannel, Declaration], Awaitable[None]]

_INEQUIVALENT = re.compile(r"inequivalent arg '([^']+)' .*: received (.+) but current is (.+)")


class Declarer:
    """Declares queues, delays and replies when they are first used.

    What was declared is remembered. Callers that want something at the same time wait for each other.

    Args:
        open_channel: opens a channel, which is closed here.
        declare: False: nothing is made. It is only looked whether the exchanges and queues are there; whether the
            bindings are, cannot be seen. Queues of replies are made all the same: nobody can know their names before.

    Methods raise ConfigurationError where the server has something else under a name, has nothing and `declare` is
    False, or forbids it; and what aiormq raises where the connection fails.
    """

    def __init__(
        self,
        open_channel: OpenChannel,
        topology: Topology,
        *,
        declare: bool = True,
    ) -> None:
        self._open_channel = open_channel
        self._topology = topology
        self._declares = declare
        self._turn = asyncio.Lock()
        self._known: set[Declaration] = set()
        self._queues: set[str] = set()
        self._replies: set[tuple[str, int]] = set()
        self._rungs: set[Rung] = set()

    async def queue(self, name: str) -> None:
        """See to it that a queue can be published to and consumed."""
        await self._provide(self._topology.queue(name), self._declares)
        self._queues.add(name)

    def has_queue(self, name: str) -> bool:
        """Tell whether that has been done."""
        return name in self._queues

    async def ladder(self, routes: Iterable[Route]) -> None:
        """See to it that messages can go these ways through the ladder.

        Where nothing may be declared, all of it up to their level is asked for, so that it is listed as a whole.
        """
        if self._declares:
            rungs = {rung for route in routes for rung in route.rungs}
        else:
            rungs = {rung for route in routes for rung in rungs_up_to(route.level, is_urgent=route.is_urgent)}
        if not rungs <= self._rungs:
            await self._provide(self._topology.ladder(rungs - self._rungs), self._declares)
            self._rungs |= rungs

    async def reply(self, address: str, number: int = 0) -> None:
        """See to it that there is a queue for a process that waits for results; the number says which of its."""
        await self._provide(self._topology.reply(address, number), True)
        self._replies.add((address, number))

    def has_reply(self, address: str, number: int = 0) -> bool:
        """Tell whether that has been done."""
        return (address, number) in self._replies

    def forget(self) -> None:
        """Declare all anew when it is next used: something that was there has been deleted, or has expired."""
        self._known.clear()
        self._queues.clear()
        self._replies.clear()
        self._rungs.clear()

    async def _provide(self, wanted: Iterable[Declaration], declares: bool) -> None:
        async with self._turn:
            missing = [declaration for declaration in wanted if declaration not in self._known]
            if declares:
                await for_each(self._open_channel, declare, [part for part in missing if not isinstance(part, Binding)])
                await for_each(self._open_channel, declare, [part for part in missing if isinstance(part, Binding)])
            else:
                await self._look_for(missing)
            self._known.update(missing)

    async def _look_for(self, wanted: Sequence[Declaration]) -> None:
        absent = await absent_of(self._open_channel, wanted)
        if absent:
            names = {part.name for part in absent if not isinstance(part, Binding)}
            raise _missing([part for part in wanted if part in absent or _touches(part, names)])


async def absent_of(open_channel: OpenChannel, wanted: Iterable[Declaration]) -> set[Declaration]:
    """Return the exchanges and queues among `wanted` that the server does not have. Raises what aiormq raises."""
    absent: set[Declaration] = set()

    async def look(channel: AbstractChannel, declaration: Declaration) -> None:
        if not await _is_there(channel, declaration):
            absent.add(declaration)

    await for_each(open_channel, look, [part for part in wanted if not isinstance(part, Binding)])
    return absent


async def for_each(open_channel: OpenChannel, step: Step, parts: Iterable[Declaration]) -> None:
    """Do something about each of them, on a few channels; raise the first error after all have stopped."""
    todo = deque(parts)
    errors: list[Exception] = []

    async def work() -> None:
        try:
            while todo and not errors:
                channel = await open_channel()
                try:
                    while todo and not errors and not channel.is_closed:  # what is refused closes the channel
                        await step(channel, todo.popleft())
                finally:
                    if not channel.is_closed:
                        await channel.close()
        except Exception as error:
            errors.append(error)

    async with asyncio.TaskGroup() as group:
        for _ in range(min(CHANNELS, len(todo))):
            group.create_task(work())
    if errors:
        raise errors[0]


async def declare(channel: AbstractChannel, declaration: Declaration) -> None:
    """Declare one thing. Raises ConfigurationError where the server has another under its name, or forbids it."""
    try:
        match declaration:
            case Exchange(name, kind, arguments):
                await channel.exchange_declare(name, exchange_type=kind, durable=True, arguments=dict(arguments))
            case Queue(name, arguments):
                await channel.queue_declare(name, durable=True, arguments=dict(arguments))
            case Binding(source, "queue", destination, key):
                await channel.queue_bind(destination, source, key)
            case Binding(source, _, destination, key):
                await channel.exchange_bind(destination, source, key)
    except ChannelPreconditionFailed as error:
        raise _mismatch(declaration, str(error)) from error
    except ChannelAccessRefused as error:
        raise ConfigurationError(
            f"The user of RabbitMQ's URL may not declare the {declaration.title}: {error}. Give it the right to "
            "configure it, or declare it yourself and set declare=False."
        ) from error


async def _is_there(channel: AbstractChannel, declaration: Declaration) -> bool:
    try:
        match declaration:
            case Exchange(name):
                await channel.exchange_declare(name, passive=True)
            case Queue(name):
                await channel.queue_declare(name, passive=True)
            case Binding():
                pass
    except ChannelNotFoundEntity as error:
        return is_node_down(error)
    return True


def _touches(declaration: Declaration, names: set[str]) -> bool:
    return isinstance(declaration, Binding) and not names.isdisjoint((declaration.source, declaration.destination))


def _mismatch(declaration: Declaration, refusal: str) -> ConfigurationError:
    found = _INEQUIVALENT.search(refusal)
    if found is None:
        return ConfigurationError(f"RabbitMQ refuses the {declaration}: {refusal}")
    argument, wanted, current = found.groups()
    return ConfigurationError(
        f"RabbitMQ has the {declaration.title} with other arguments: its {argument} is {_value(current)}, and asyncq "
        f"wants {_value(wanted)}. Delete it once it is empty, or use another namespace. If it should differ from what "
        "asyncq declares, set that by a policy."
    )


def _value(words: str) -> str:
    """Return the value in "'20'", in "the value '20' of type 'byte'", and in "none"."""
    quoted = re.search("'([^']*)'", words)
    return quoted[1] if quoted else words


def _missing(declarations: Iterable[Declaration]) -> ConfigurationError:
    return ConfigurationError(
        f"RabbitMQ lacks what is needed, and declare=False was given:\n{text(declarations, most=MAX_LINES)}\n"
        "`asyncq check APP --definitions` prints all that APP needs, for `rabbitmqadmin import` and `rabbitmqctl "
        "import_definitions`."
    )
