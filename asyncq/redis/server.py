"""The server: how it is reached, what is said to it, and what its errors mean."""

from collections.abc import Callable, Generator, Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias, cast

import hiredis
from redis import ConnectionPool as ThreadConnectionPool
from redis.asyncio import ConnectionPool
from redis.exceptions import (
    BusyLoadingError,
    ClusterDownError,
    InvalidResponse,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from asyncq.clock import ServerClock
from asyncq.errors import BrokerUnavailable, ConfigurationError
from asyncq.redis.keys import Keys
from asyncq.redis.script import ScriptSet, all_scripts

Argument: TypeAlias = str | bytes | int
Reply: TypeAlias = Any


class Call(NamedTuple):
    """A script to run."""

    script: str
    keys: tuple[str, ...]
    arguments: Sequence[Argument]


Command: TypeAlias = Call | tuple[Argument, ...]
Plan: TypeAlias = Generator[Sequence[Command], list[Reply], Any]
"""Steps that do not care whether a thread or an event loop takes them: yields commands, is sent their replies."""

TIME: Command = ("TIME",)

# Its stub says that it takes one argument, and nothing of what it returns.
_pack = cast(Callable[[tuple[Argument, ...]], bytes], cast(Any, hiredis).pack_command)

FAULTS = (RedisError, OSError)
"""All that can go wrong on the way, and all that the server can say. (The builtin TimeoutError is an OSError.)"""

_PASSING = (
    *(RedisConnectionError, RedisTimeoutError, OSError, InvalidResponse),
    *(BusyLoadingError, ClusterDownError, ReadOnlyError, TryAgainError),
)
_PASSING_WORDS = ("BUSY ", "LOADING ", "MASTERDOWN ")
_FULL_WORDS = ("OOM ", "MISCONF ")
"""Anywhere in the text: below Redis 7 a script wraps them in its own error."""


class Wire(Protocol):
    """What we use of a connection of redis.asyncio."""

    async def connect(self) -> None: ...
    async def send_packed_command(self, command: Sequence[bytes], check_health: bool = ...) -> None: ...
    async def read_response(
        self, disable_decoding: bool = ..., timeout: float | None = ..., *, disconnect_on_error: bool = ...
    ) -> Reply: ...
    async def disconnect(self, nowait: bool = ...) -> None: ...


class ThreadWire(Protocol):
    """What we use of a connection of redis."""

    def connect(self) -> None: ...
    def send_packed_command(self, command: Sequence[bytes], check_health: bool = ...) -> None: ...
    def read_response(self) -> Reply: ...
    def disconnect(self) -> None: ...


class Server:
    """One Redis server, as its URL names it.

    Attributes:
        address: host and port, or path, without secrets.
        clock: the server's, as it was told at the last connect.
    """

    def __init__(self, url: str, *, connect_timeout: float, command_timeout: float) -> None:
        self.connect_timeout = connect_timeout
        self.command_timeout = command_timeout
        self.clock = ServerClock()
        try:
            self._pool = cast(Any, ConnectionPool).from_url(url)
            self._thread_pool = cast(Any, ThreadConnectionPool).from_url(url)
        except ValueError as error:
            raise ConfigurationError(f"This is no URL of a Redis server: {error}") from error
        # Whatever the URL says of them: replies are bytes, and every wait is bounded by us, blocking reads included.
        options = {"protocol": 2, "decode_responses": False, "socket_connect_timeout": connect_timeout}
        options |= {"health_check_interval": 0}
        self._pool.connection_kwargs.update(options, socket_timeout=None)
        self._thread_pool.connection_kwargs.update(options, socket_timeout=command_timeout)
        where = self._pool.connection_kwargs
        self.address = str(where.get("path") or f"{where.get('host', 'localhost')}:{where.get('port', 6379)}")
        self._scripts = ScriptSet(with_flags=True)

    def connection(self) -> Wire:
        """Return a new connection for an event loop, not connected yet."""
        return cast(Wire, self._pool.make_connection())

    def thread_connection(self) -> ThreadWire:
        """Return a new connection for a thread, not connected yet."""
        return cast(ThreadWire, self._thread_pool.make_connection())

    def pack(self, commands: Sequence[Command]) -> list[bytes]:
        """Return commands as they are sent."""
        return [_pack(self._words(command)) for command in commands]

    async def send(self, wire: Wire, commands: Sequence[Command]) -> None:
        """Send commands. Raises one of FAULTS."""
        try:
            await wire.send_packed_command(self.pack(commands), check_health=False)
        except RuntimeError as error:  # uvloop's word for a connection that was lost since the last time
            raise ConnectionError(str(error)) from error

    def load_scripts(self) -> Plan:
        """Give the server all scripts."""
        replies = yield [("SCRIPT", "LOAD", text) for text in self._scripts.texts]
        if self._scripts.with_flags and any(isinstance(reply, ResponseError) for reply in replies):
            self._scripts = ScriptSet(with_flags=False)  # below Redis 7, which does not know them
            replies = yield [("SCRIPT", "LOAD", text) for text in self._scripts.texts]
        self.check(replies, "load its scripts")

    def repeat_unknown(self, commands: Sequence[Command], replies: list[Reply]) -> Plan:
        """Repeat the calls of scripts that the server has forgotten, in a restart or by SCRIPT FLUSH."""
        unknown = [index for index, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
        yield from self.load_scripts()
        for index, reply in zip(unknown, (yield [commands[index] for index in unknown]), strict=True):
            replies[index] = reply

    def check(self, replies: Sequence[Reply], wanted: str) -> None:
        """Raise BrokerUnavailable if one of the replies is an error."""
        for reply in replies:
            if isinstance(reply, Exception):
                raise BrokerUnavailable(f"Redis at {self.address} refused to {wanted}: {reply}") from reply

    def unavailable(self, wanted: str, error: BaseException | None, *, seconds: float = 0) -> BrokerUnavailable:
        """Return the error to raise when something did not come to pass."""
        tried = f"tried to {wanted}{f' for {seconds:g} s' if seconds else ''}"
        cause = f" {type(error).__name__}: {error}" if error is not None and str(error) else ""
        return BrokerUnavailable(f"Redis at {self.address} does not answer; {tried}.{cause}")

    def _words(self, command: Command) -> tuple[Argument, ...]:
        if isinstance(command, Call):
            script, keys, arguments = command
            return ("EVALSHA", self._scripts.digests[script], len(keys), *keys, *arguments)
        return command


def call(script: str, keys: Keys, *arguments: Argument) -> Call:
    """Return the call of a script on the keys that it names."""
    return Call(script, all_scripts()[script].select(keys), arguments)


def milliseconds(time: Reply) -> int:
    """Return the milliseconds since 1970 of a reply to TIME."""
    seconds, microseconds = time
    return int(seconds) * 1000 + int(microseconds) // 1000


def is_unknown_script(reply: Reply) -> bool:
    """Say whether the server does not know the script."""
    return isinstance(reply, NoScriptError)


def is_passing(error: BaseException) -> bool:
    """Say whether another connection, or a little time, may help."""
    return isinstance(error, _PASSING) or str(error).startswith(_PASSING_WORDS)


def is_full(reply: Reply) -> bool:
    """Say whether the server refuses to store more: no memory, or no disk."""
    if isinstance(reply, OutOfMemoryError):
        return True
    return isinstance(reply, ResponseError) and any(word in str(reply) for word in _FULL_WORDS)
