"""The URLs: which nodes they name, who enters there, which virtual host is meant, and how TLS is done."""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from asyncq.errors import ConfigurationError, near_names

SPELLINGS = (
    "amqp://[user:password@]host[:port][/virtual host], amqps:// for TLS; "
    "several of them, separated by commas, are tried in this order"
)
PORT, TLS_PORT = 5672, 5671
HEARTBEAT, HEARTBEAT_WITH_LEDGER = 60, 15
"""Seconds; the server takes back what it has sent to somebody after two or three of them. With a ledger, to lose a
connection because the loop was blocked for so long costs nothing; so what was sent to who is frozen waits for less."""
MAX_HEARTBEAT = 65_534

_TLS_OPTIONS = ("cafile", "capath", "certfile", "keyfile", "no_verify_ssl")
_OPTIONS = (*_TLS_OPTIONS, "heartbeat", "auth")
_MECHANISMS = ("plain", "external")
_BETWEEN_URLS = re.compile(r",\s*(?=\w+://)")


class Tls(NamedTuple):
    """How the server proves who it is, and we to the server.

    Attributes:
        cafile, capath: certificates of authorities, in PEM; empty: those that the system trusts.
        certfile, keyfile: our own certificate, and its key where that is not in the same file.
        verify: whether the server's certificate is looked at; without that, anybody may be the server.
    """

    cafile: str = ""
    capath: str = ""
    certfile: str = ""
    keyfile: str = ""
    verify: bool = True


class Target(NamedTuple):
    """One node, and how to enter it.

    Attributes:
        tls: None: the connection is not encrypted.
        heartbeat: seconds of silence after which the other side is doubted; 0: for ever trusted.
        mechanism: how we say who we are: "plain", by name and password; "external", by our certificate.
    """

    host: str
    port: int
    user: str = "guest"
    password: str = "guest"
    vhost: str = "/"
    tls: Tls | None = None
    heartbeat: int = HEARTBEAT
    mechanism: str = "plain"

    @property
    def name(self) -> str:
        """What it is called in messages: without secrets."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        where = "" if self.vhost == "/" else f" (virtual host {self.vhost!r})"
        return f"{host}:{self.port}{where}"


def read_urls(urls: str | Sequence[str], *, heartbeat: int = HEARTBEAT) -> tuple[Target, ...]:
    """Return the nodes that one or several URLs name, in their order, at least one. Raises ConfigurationError.

    Args:
        urls: one, or several.
        heartbeat: of those that say none.
    """
    several = [urls] if isinstance(urls, str) else urls
    found = [
        target for some in several for url in _BETWEEN_URLS.split(some.strip()) for target in _read(url, heartbeat)
    ]
    if not found:
        raise ConfigurationError(f"There is no URL of a RabbitMQ server. {_advice()}")
    return tuple(found)


def _read(url: str, heartbeat: int) -> list[Target]:
    parts = _split(url)
    if parts.scheme not in ("amqp", "amqps"):
        raise ConfigurationError(f"This is no URL of a RabbitMQ server: its scheme is {parts.scheme!r}. {_advice()}")
    options = _options(parts)
    is_secure = parts.scheme == "amqps"
    if not is_secure and (useless := [name for name in _TLS_OPTIONS if name in options]):
        raise ConfigurationError(f"{useless[0]}= is of use with amqps:// only; this URL says amqp://.")
    entrance, _, hosts = parts.netloc.rpartition("@")
    user, password = _credentials(entrance, mechanism := _mechanism(options))
    vhost = unquote(parts.path.removeprefix("/")) or "/"
    tls = _tls(options) if is_secure else None
    heartbeat = _heartbeat(options["heartbeat"]) if "heartbeat" in options else heartbeat
    nodes = [_node(host, TLS_PORT if is_secure else PORT) for host in hosts.split(",")]
    return [Target(host, port, user, password, vhost, tls, heartbeat, mechanism) for host, port in nodes]


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError as error:
        raise ConfigurationError(f"This is no URL of a RabbitMQ server: {error}. {_advice()}") from None


def _options(parts: SplitResult) -> Mapping[str, str]:
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    for name in options:
        if name not in _OPTIONS:
            raise ConfigurationError(
                f"A URL of a RabbitMQ server has no option {name!r}.{near_names(name, _OPTIONS)} "
                f"Options: {', '.join(_OPTIONS)}."
            )
    return options


def _mechanism(options: Mapping[str, str]) -> str:
    mechanism = options.get("auth", _MECHANISMS[0]).lower()
    if mechanism not in _MECHANISMS:
        raise ConfigurationError(f"auth= is one of {', '.join(_MECHANISMS)}; got {mechanism!r}.")
    return mechanism


def _credentials(entrance: str, mechanism: str) -> tuple[str, str]:
    user, _, password = map(unquote, entrance.partition(":"))
    if not user:
        return Target._field_defaults["user"], Target._field_defaults["password"]
    if not password and mechanism == "plain":
        raise ConfigurationError(f"This URL of a RabbitMQ server names the user {user!r}, and no password. {_advice()}")
    return user, password


def _heartbeat(text: str) -> int:
    if not text.isdecimal() or int(text) > MAX_HEARTBEAT:
        raise ConfigurationError(f"heartbeat= is a number of seconds, 0 (none) to {MAX_HEARTBEAT}; got {text!r}.")
    return int(text)


def _tls(options: Mapping[str, str]) -> Tls:
    options = {name: value for name, value in options.items() if name in _TLS_OPTIONS}
    no_verify = options.pop("no_verify_ssl", "0")
    if no_verify not in ("0", "1"):
        raise ConfigurationError(f"no_verify_ssl= is 0 or 1; got {no_verify!r}.")
    if "keyfile" in options and "certfile" not in options:
        raise ConfigurationError("keyfile= needs the certificate that it belongs to: certfile=.")
    return Tls(**options, verify=no_verify == "0")


def _node(text: str, port: int) -> tuple[str, int]:
    try:
        parts = urlsplit(f"//{text}")
        return unquote(parts.hostname or "localhost"), parts.port or port
    except ValueError as error:
        raise ConfigurationError(f"This is no host of a RabbitMQ server: {text!r}: {error}. {_advice()}") from error


def _advice() -> str:
    return f"Spellings: {SPELLINGS}."
