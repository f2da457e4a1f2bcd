"""The kinds of broker, each imported when it is first asked for: a program loads only the client library it uses."""

from importlib import import_module
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from asyncq.broker.broker import Broker
from asyncq.broker.urls import hidden_password
from asyncq.errors import ConfigurationError, MissingExtra, near_names


class Kind(NamedTuple):
    """Where a broker class lives, and what it needs.

    Attributes:
        module: the module of the class.
        client: the client library that it imports; empty: none.
        extra: the extra of asyncq that installs it.
    """

    module: str
    client: str = ""
    extra: str = ""


KINDS = {
    "MemoryBroker": Kind("asyncq.broker.memory"),
    "SQLiteBroker": Kind("asyncq.broker.sqlite"),
    "RedisBroker": Kind("asyncq.broker.redis", "redis", "redis"),
    "RabbitMQBroker": Kind("asyncq.broker.rabbitmq", "aiormq", "rabbitmq"),
}

_SCHEMES = {
    "memory": "MemoryBroker",
    "sqlite": "SQLiteBroker",
    "redis": "RedisBroker",
    "rediss": "RedisBroker",
    "redis+sentinel": "RedisBroker",
    "rediss+sentinel": "RedisBroker",
    "redis+cluster": "RedisBroker",
    "rediss+cluster": "RedisBroker",
    "unix": "RedisBroker",
    "amqp": "RabbitMQBroker",
    "amqps": "RabbitMQBroker",
}


def broker_class(name: str) -> type[Broker]:
    """Return the broker class of this name. Raises MissingExtra with the line to type."""
    kind = KINDS[name]
    try:
        return getattr(import_module(kind.module), name)
    except ModuleNotFoundError as error:
        if not kind.client or error.name is None or error.name.partition(".")[0] != kind.client:
            raise
        raise MissingExtra(
            f'{name} needs the {kind.client} library, which is not installed: pip install "asyncq[{kind.extra}]"',
            name=error.name,
        ) from error


def broker_from_url(url: str, *, store: str | Broker | None = None, **options: Any) -> Broker:
    """Return the broker that a URL names.

    Args:
        url: `memory://`, `sqlite:///relative.db`, `sqlite:////absolute.db`, `redis://host:6379/0`, `rediss://...`,
            `redis+sentinel://host,host/service/0`, `redis+cluster://host,host`, `amqp://host:5672/vhost`, `amqps://...`.
            A SQLite URL may say `?synchronous=NORMAL`.
        store: what remembers calls for RabbitMQ (see `RabbitMQBroker`); the others do so themselves and take none.
        options: passed on to the broker.

    Raises:
        ConfigurationError: a URL that names no broker, or a store for a broker that takes none.
        MissingExtra: its client library is not installed.
    """
    parts = urlsplit(url)
    name = _SCHEMES.get(parts.scheme)
    if name is None:
        raise ConfigurationError(
            f"{hidden_password(url)!r} names no broker: a URL starts with one of "
            f"{', '.join(f'{scheme}://' for scheme in _SCHEMES)}.{near_names(parts.scheme, _SCHEMES)}"
        )
    make: Any = broker_class(name)
    if name == "RabbitMQBroker":
        return make(url, store=store, **options)
    if store is not None:
        raise ConfigurationError(f"{hidden_password(url)} remembers calls by itself: store= is for amqp:// alone.")
    if name == "MemoryBroker":
        return make(**options)
    if name == "SQLiteBroker":
        if parts.netloc:
            raise ConfigurationError(f"{url!r}: a SQLite URL has three slashes before a relative path, four before /.")
        return make(parts.path.removeprefix("/") or "asyncq.db", **dict(parse_qsl(parts.query)), **options)
    return make(url, **options)
