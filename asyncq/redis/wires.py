"""The wires: connections of redis-py, as they are made and as far as they are used."""

from collections.abc import Sequence
from typing import Any, Protocol, cast

from redis import ConnectionPool as ThreadConnectionPool
from redis.asyncio import ConnectionPool

from asyncq.errors import ConfigurationError
from asyncq.keepalive import keepalive_options
from asyncq.redis.topology import Visit
from asyncq.redis.urls import Target

_CREDENTIALS = ("username", "password", "db", "credential_provider", "client_name")
"""Options of connections to servers that those to sentinels do not share."""


class Wire(Protocol):
    """What we use of a connection of redis.asyncio."""

    async def connect(self) -> None: ...
    async def send_packed_command(self, command: Sequence[bytes], check_health: bool = ...) -> None: ...
    async def read_response(
        self, disable_decoding: bool = ..., timeout: float | None = ..., *, disconnect_on_error: bool = ...
    ) -> Any: ...
    async def disconnect(self, nowait: bool = ...) -> None: ...


class ThreadWire(Protocol):
    """What we use of a connection of redis."""

    def connect(self) -> None: ...
    def send_packed_command(self, command: Sequence[bytes], check_health: bool = ...) -> None: ...
    def read_response(self) -> Any: ...
    def disconnect(self) -> None: ...


class Wires:
    """Makes connections to the nodes of a target.

    Args:
        target: what the URL says.
        connect_timeout: seconds that connecting to a node may take.
        read_timeout: seconds that a thread waits for a reply.
    """

    def __init__(self, target: Target, *, connect_timeout: float, read_timeout: float) -> None:
        try:
            pool = cast(Any, ConnectionPool).from_url(target.url)
            thread_pool = cast(Any, ThreadConnectionPool).from_url(target.url)
        except ValueError as error:
            raise ConfigurationError(f"This is no URL of a Redis server: {error}") from error
        # Whatever the URL says of them: replies are bytes, and every wait is bounded by us, blocking reads included.
        options: dict[str, Any] = {"protocol": 2, "decode_responses": False, "health_check_interval": 0}
        options["socket_connect_timeout"] = connect_timeout
        self._is_local = "path" in pool.connection_kwargs
        if not self._is_local:
            options |= {"socket_keepalive": True, "socket_keepalive_options": keepalive_options()}
        self._make, self._options = pool.connection_class, pool.connection_kwargs | options
        self._make_in_thread = thread_pool.connection_class
        self._thread_options = thread_pool.connection_kwargs | options
        self._options["socket_timeout"] = None
        self._thread_options["socket_timeout"] = read_timeout
        self._sentinel_options = dict(target.sentinel_options)

    def wire(self, visit: Visit) -> Wire:
        """Return a new connection for an event loop, not connected yet."""
        return cast(Wire, self._make(**self._addressed(self._options, visit)))

    def thread_wire(self, visit: Visit, *, visit_timeout: float) -> ThreadWire:
        """Return a new connection for a thread, not connected yet.

        Args:
            visit: whom to connect to.
            visit_timeout: seconds that connecting may take, and a reply of a sentinel: they are asked one thing.
        """
        options = self._addressed(self._thread_options, visit) | {"socket_connect_timeout": visit_timeout}
        if visit.is_sentinel:
            options["socket_timeout"] = visit_timeout
        return cast(ThreadWire, self._make_in_thread(**options))

    def _addressed(self, options: dict[str, Any], visit: Visit) -> dict[str, Any]:
        if self._is_local:
            return options
        if visit.is_sentinel:
            options = {name: value for name, value in options.items() if name not in _CREDENTIALS}
            options |= self._sentinel_options
        return options | {"host": visit.node.host, "port": visit.node.port}
