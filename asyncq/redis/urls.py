"""The URL: which nodes it names, what they are, and what redis-py is told of a connection to one of them."""

from enum import StrEnum
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit

from asyncq.errors import ConfigurationError
from asyncq.redis.topology import Alone, Cluster, Node, Sentinels, Topology

SPELLINGS = (
    "redis://[user:password@]host[:port][/database], rediss:// for TLS, unix://path, "
    "redis+sentinel://host[:port],host[:port].../service[/database], redis+cluster://host[:port],host[:port]..."
)
PORT, SENTINEL_PORT = 6379, 26379

_SENTINEL_OPTIONS = {"sentinel_username": "username", "sentinel_password": "password"}


class Kind(StrEnum):
    """What the nodes of a URL are."""

    ALONE = "alone"
    CLUSTER = "cluster"
    SENTINEL = "sentinel"


class Target(NamedTuple):
    """What a URL says.

    Attributes:
        kind: what its nodes are.
        nodes: hosts and ports, at least one.
        url: the same for one node, as redis-py reads it.
        service: what the sentinels call the master.
        sentinel_options: what connections to sentinels are told beside.
    """

    kind: Kind
    nodes: tuple[Node, ...]
    url: str
    service: str = ""
    sentinel_options: tuple[tuple[str, str], ...] = ()

    @property
    def name(self) -> str:
        """What it is called in messages: without secrets."""
        if self.kind is Kind.ALONE:
            return str(self.nodes[0])
        nodes = ", ".join(map(str, self.nodes))
        return f"{nodes} (cluster)" if self.kind is Kind.CLUSTER else f"{self.service!r} of the sentinels {nodes}"


def read_url(url: str) -> Target:
    """Return what a URL says. Raises ConfigurationError."""
    parts = urlsplit(url)
    base, plus, suffix = parts.scheme.partition("+")
    if base == "unix" and not plus:
        return Target(Kind.ALONE, (Node(unquote(parts.path), 0),), url)
    if base not in ("redis", "rediss") or suffix not in ("", "cluster", "sentinel") or (plus and not suffix):
        raise ConfigurationError(f"This is no URL of a Redis server: its scheme is {parts.scheme!r}. {_advice()}")
    user, at, hosts = parts.netloc.rpartition("@")
    kind = Kind(suffix) if suffix else Kind.ALONE
    default_port = SENTINEL_PORT if kind is Kind.SENTINEL else PORT
    nodes = [_node(host, default_port) for host in hosts.split(",")]
    if kind is Kind.ALONE and len(nodes) > 1:
        raise ConfigurationError(f"This URL of a Redis server names {len(nodes)} hosts. {_advice()}")
    options = parse_qsl(parts.query)
    query = urlencode([(name, value) for name, value in options if name not in _SENTINEL_OPTIONS])
    service, path = "", parts.path
    if kind is Kind.SENTINEL:
        service, _, database = path.removeprefix("/").partition("/")
        path = f"/{database}" if database else ""
        if not service:
            raise ConfigurationError(f"This URL does not say which service the sentinels watch. {_advice()}")
    elif kind is Kind.CLUSTER and path.strip("/") not in ("", "0"):
        raise ConfigurationError(f"A Redis cluster has database 0 only; got {path!r}.")
    plain = urlunsplit((base, f"{user}{at}{_spelled(nodes[0])}", path, query, ""))
    sentinel_options = tuple((_SENTINEL_OPTIONS[name], value) for name, value in options if name in _SENTINEL_OPTIONS)
    return Target(kind, tuple(nodes), plain, unquote(service), sentinel_options)


def topology_of(target: Target) -> Topology:
    """Return where to look for the master of a target."""
    match target.kind:
        case Kind.ALONE:
            return Alone(target.nodes[0])
        case Kind.CLUSTER:
            return Cluster(target.nodes, 0)
        case Kind.SENTINEL:
            return Sentinels(target.nodes, target.service)


def _node(text: str, port: int) -> Node:
    try:
        parts = urlsplit(f"//{text}")
        return Node(unquote(parts.hostname or "localhost"), parts.port or port)
    except ValueError as error:
        raise ConfigurationError(f"This is no URL of a Redis server: {text!r}: {error}. {_advice()}") from error


def _spelled(node: Node) -> str:
    return f"[{node.host}]:{node.port}" if ":" in node.host else f"{node.host}:{node.port}"


def _advice() -> str:
    return f"Spellings: {SPELLINGS}."
