"""Several real servers that belong together: a cluster, and a master with replicas and sentinels."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from redis import Redis
from redis.crc import key_slot
from redis.exceptions import RedisError

from tests.servers import HOST, RedisServer, free_port, redis_server_path

SLOTS = 16_384
NODE_TIMEOUT_MS = 1_000
READY_TIMEOUT = 45  # a sentinel that was starved of CPU takes no part in anything for 30 s
SERVICE = "asyncq-master"

_REPLICATED = (
    *("--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1"),
    *("--repl-timeout", "10"),  # a handshake that got stuck on a busy machine is begun anew before we give up
)


class Topology:
    """Servers that are started together and end together."""

    def __init__(self) -> None:
        self._servers = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as servers:
            self._start(servers)
            self._servers = servers.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._servers.close()

    def _start(self, servers: ExitStack) -> None:
        raise NotImplementedError


class RedisCluster(Topology):
    """A cluster of three masters with a replica each. A node counts as dead after a second of silence.

    Args:
        folder: for the data of its nodes.
        arguments: further options of each redis-server.

    Attributes:
        nodes: its servers: the three that begin as masters, then their replicas.
        url: of one of them, which says nothing of a cluster.
    """

    def __init__(self, folder: Path, *arguments: str) -> None:
        super().__init__()
        self.nodes = [
            RedisServer(
                folder / f"node-{number}",
                *("--cluster-enabled", "yes", "--cluster-node-timeout", str(NODE_TIMEOUT_MS)),
                *("--cluster-port", str(free_port()), "--cluster-replica-validity-factor", "0"),
                *(*_REPLICATED, *arguments),
            )
            for number in range(6)
        ]
        self.url = self.nodes[0].url

    @property
    def seeds_url(self) -> str:
        """The URL of all of its nodes."""
        return f"redis+cluster://{','.join(f'{HOST}:{node.port}' for node in self.nodes)}"

    def master_of(self, namespace: str) -> RedisServer:
        """Return the node that holds a namespace now, as one that is alive sees it."""
        slot = key_slot(f"{{{namespace}}}".encode())
        for node in self.nodes:
            with suppress(RedisError), client(node) as redis:
                for first, last, master, *_ in _raw(redis, "CLUSTER", "SLOTS"):
                    if first <= slot <= last:
                        return self.node_at(int(master[1]))
        raise AssertionError("No node of the cluster answers.")

    def node_at(self, port: int) -> RedisServer:
        """Return the node that listens on a port."""
        return next(node for node in self.nodes if node.port == port)

    def _start(self, servers: ExitStack) -> None:
        for node in self.nodes:
            servers.enter_context(node)
        with ExitStack() as clients:
            nodes = [clients.enter_context(client(node)) for node in self.nodes]
            ids = [_raw(node, "CLUSTER", "MYID") for node in nodes]
            for number, node in enumerate(nodes):
                _raw(node, "CLUSTER", "SET-CONFIG-EPOCH", number + 1)
                bus_port = node.config_get("cluster-port")["cluster-port"]  # pyright: ignore[reportIndexIssue]
                _raw(nodes[0], "CLUSTER", "MEET", HOST, self.nodes[number].port, bus_port)
            for number, node in enumerate(nodes[:3]):
                _raw(node, "CLUSTER", "ADDSLOTSRANGE", number * SLOTS // 3, (number + 1) * SLOTS // 3 - 1)
            _wait(lambda: all(_knows(node, 6) for node in nodes), "the nodes know each other")
            for number, node in enumerate(nodes[3:]):
                _raw(node, "CLUSTER", "REPLICATE", ids[number])
            _wait(lambda: all(map(_is_ready, nodes)), "the cluster is up")


class Sentinels(Topology):
    """A master with two replicas, and three sentinels that watch it. It counts as dead after a second of silence.

    Args:
        folder: for the data of its servers.
        arguments: further options of each redis-server that holds data.

    Attributes:
        servers: the one that begins as the master, then its replicas.
        sentinels: who watches them.
        url: of the service, by the sentinels.
    """

    def __init__(self, folder: Path, *arguments: str) -> None:
        super().__init__()
        options = (*_REPLICATED, *arguments)
        master = RedisServer(folder / "server-0", *options)
        replica_of = ("--replicaof", f"{HOST} {master.port}")
        self.servers = [master, *(RedisServer(folder / f"server-{n}", *replica_of, *options) for n in (1, 2))]
        self.sentinels = [Sentinel(folder / f"sentinel-{number}", master) for number in range(3)]
        hosts = ",".join(f"{HOST}:{sentinel.port}" for sentinel in self.sentinels)
        self.url = f"redis+sentinel://{hosts}/{SERVICE}/0"

    def master(self) -> RedisServer:
        """Return the server that the sentinels call the master now."""
        with client(self.sentinels[0]) as sentinel:
            _, port = _raw(sentinel, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)
        return next(server for server in self.servers if server.port == int(port))

    def _start(self, servers: ExitStack) -> None:
        with ExitStack() as clients:
            for server in self.servers:
                servers.enter_context(server)
            replicas = [clients.enter_context(client(server)) for server in self.servers[1:]]
            _wait(lambda: all(map(_has_link, replicas)), "the replicas are connected")
            for sentinel in self.sentinels:
                servers.enter_context(sentinel)
            watchers = [clients.enter_context(client(sentinel)) for sentinel in self.sentinels]
            _wait(lambda: all(map(_watches, watchers)), "the sentinels know each other and the replicas")


class Sentinel(RedisServer):
    """One sentinel."""

    def __init__(self, folder: Path, master: RedisServer) -> None:
        super().__init__(folder)
        configuration = folder / "sentinel.conf"
        configuration.write_text(
            f"port {self.port}\nbind {HOST}\ndir {folder}\n"
            f"sentinel monitor {SERVICE} {HOST} {master.port} 2\n"
            f"sentinel down-after-milliseconds {SERVICE} 1000\n"
            f"sentinel failover-timeout {SERVICE} 5000\n"
            f"sentinel parallel-syncs {SERVICE} 2\n"
        )
        self._command = [redis_server_path(), str(configuration), "--sentinel"]


class Masters(NamedTuple):
    """Servers that belong together, one of which is the master of a namespace.

    Attributes:
        url: where a broker finds it.
        master: returns who it is now.
    """

    url: str
    master: Callable[[], RedisServer]


TOPOLOGIES = ("cluster", "sentinel")


@contextmanager
def masters_of(topology: str, folder: Path, namespace: str) -> Iterator[Masters]:
    """Start a cluster, or a master with its sentinels, until the block ends."""
    if topology == "cluster":
        with RedisCluster(folder) as cluster:
            yield Masters(cluster.url, lambda: cluster.master_of(namespace))
    else:
        with Sentinels(folder) as sentinels:
            yield Masters(sentinels.url, sentinels.master)


def client(server: RedisServer) -> Redis:
    """Return a client of one node alone."""
    return Redis(host=HOST, port=server.port, socket_timeout=2, decode_responses=True)


def _raw(redis: Redis, *command: Any) -> Any:
    """Return the reply as it came, and not as one of redis-py's own values."""
    redis.response_callbacks.clear()
    return redis.execute_command(*command)


def _knows(node: Redis, count: int) -> bool:
    return _raw(node, "CLUSTER", "NODES").count("connected") == count


def _is_ready(node: Redis) -> bool:
    state = _raw(node, "CLUSTER", "INFO")
    slots = _raw(node, "CLUSTER", "SLOTS")
    is_whole = len(slots) == 3 and all(len(shard) == 4 for shard in slots)
    return "cluster_state:ok" in state and is_whole and (_has_link(node) or "role:master" in _replication(node))


def _has_link(node: Redis) -> bool:
    return "master_link_status:up" in _replication(node)


def _replication(node: Redis) -> str:
    return _raw(node, "INFO", "replication")


def _watches(sentinel: Redis) -> bool:
    state = _raw(sentinel, "INFO", "sentinel")
    return "slaves=2" in state and "sentinels=3" in state and "status=ok" in state


def _wait(condition: Callable[[], bool], description: str) -> None:
    deadline = time.monotonic() + READY_TIMEOUT
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"Not within {READY_TIMEOUT} s: {description}.")
        time.sleep(0.02)  # between two looks
