"""The topology: which nodes are asked, and in what order, to find the one that holds a namespace.

Searches, because a lease's thread and an event loop do the same: a search yields whom to visit and what to ask there,
and is sent the replies, or thrown the fault. The node that was visited last, when the search returns, is the one.
Whoever meets a fault says so, and the next search begins elsewhere: a node that is frozen, or cut off from the others,
would go on to call itself the master.
"""

from collections.abc import Generator, Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias

from redis.exceptions import ClusterDownError, ReadOnlyError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError

from asyncq.redis.faults import FAULTS, is_forbidden

TIME = ("TIME",)


class Node(NamedTuple):
    """A server process: its host and port, or the path of its socket."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}" if self.port else self.host


class Visit(NamedTuple):
    """Whom to ask for what; sentinels are greeted in another way."""

    node: Node
    commands: Sequence[tuple[str, ...]]
    is_sentinel: bool = False


Search: TypeAlias = Generator[Visit, Sequence[Any], tuple[Node, Any]]
"""Returns the node, and its reply to TIME."""


class Topology(Protocol):
    """What is known of the nodes."""

    def search(self) -> Search:
        """Return a search for the master. It raises what stood in the way at last."""
        ...

    def doubt(self, node: Node) -> None:
        """Ask others first from now on."""
        ...


class Alone:
    """One server."""

    def __init__(self, node: Node) -> None:
        self.node = node

    def search(self) -> Search:
        [time] = yield Visit(self.node, [TIME])
        return self.node, time

    def doubt(self, node: Node) -> None:
        """There is nobody else."""


class Sentinels:
    """Sentinels that know which server is the master of a service."""

    def __init__(self, sentinels: Sequence[Node], service: str) -> None:
        self.sentinels = tuple(sentinels)
        self._service = service

    def search(self) -> Search:
        error: Exception = RedisConnectionError("No sentinel was asked.")
        failed: set[Node] = set()
        for sentinel in self.sentinels:
            try:
                [address] = yield self.question(sentinel)
                node = self.answer(sentinel, address)
            except FAULTS as fault:
                error = fault
                continue
            if node in failed:
                continue
            try:
                time, role = yield Visit(node, [TIME, ("ROLE",)])
            except FAULTS as fault:
                error = fault
            else:
                if _role(role) == b"master":
                    self.prefer(sentinel)
                    return node, time
                error = ReadOnlyError(f"Sentinel {sentinel} names {node}, which is not the master (yet, or any more).")
            failed.add(node)
        raise error

    def doubt(self, node: Node) -> None:
        """The sentinels are asked each time."""

    def question(self, sentinel: Node) -> Visit:
        """Return what a sentinel is asked."""
        return Visit(sentinel, [("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._service)], True)

    def answer(self, sentinel: Node, address: Any) -> Node:
        """Return whom a sentinel names. Raises what it said instead."""
        if isinstance(address, Exception):
            raise address
        if address is None:
            raise RedisConnectionError(f"Sentinel {sentinel} knows no service {self._service!r}.")
        host, port = address
        return Node(host.decode(), int(port))

    def prefer(self, sentinel: Node) -> None:
        """Ask this one first from now on."""
        if self.sentinels[0] != sentinel:
            self.sentinels = (sentinel, *(each for each in self.sentinels if each != sentinel))


class Cluster:
    """A cluster, of which any node knows the others.

    Args:
        seeds: nodes that were named; they are asked when no other is left.
        slot: of the namespace.
    """

    def __init__(self, seeds: Sequence[Node], slot: int) -> None:
        self.slot = slot
        self._seeds: tuple[Node, ...] = tuple(seeds)
        self._known: tuple[Node, ...] = self._seeds

    def search(self) -> Search:
        error: Exception = ClusterDownError("No node of the cluster says who holds the namespace.")
        left = list(dict.fromkeys((*self._known, *self._seeds)))
        visited: set[Node] = set()
        while left:
            node = left.pop(0)
            visited.add(node)
            try:
                time, id, slots = yield Visit(node, [TIME, ("CLUSTER", "MYID"), ("CLUSTER", "SLOTS")])
                shard = self._shard(node, id, slots)
            except FAULTS as fault:
                error = fault
                if isinstance(fault, ResponseError) and is_forbidden(fault):
                    raise
                continue
            if shard is None:
                continue
            owner, others = shard
            if owner == node:
                self._known = tuple(dict.fromkeys((node, *others, *self._known)))[:_MOST_KNOWN]
                return node, time
            left = [each for each in dict.fromkeys((owner, *left, *others)) if each not in visited]
        raise error

    def doubt(self, node: Node) -> None:
        """Ask others first from now on; they know better whether it is still there."""
        if len(self._known) > 1 and self._known[0] == node:
            self._known = (*self._known[1:], node)

    def prefer(self, node: Node) -> None:
        """Ask this one first, of which another has said that it holds the namespace."""
        self._known = (node, *(each for each in self._known if each != node))

    def _shard(self, node: Node, id: Any, slots: Any) -> tuple[Node, list[Node]] | None:
        """Return who holds the slot, and all nodes; None: nobody does. The one asked is called as it was reached."""
        for reply in (id, slots):
            if isinstance(reply, Exception):
                raise reply
        nodes: dict[Node, None] = {}
        owner: Node | None = None
        for first, last, master, *replicas in slots:
            nodes |= dict.fromkeys(_address(each, node) for each in (master, *replicas))
            if first <= self.slot <= last:
                owner = node if master[2] == id else _address(master, node)
        return None if owner is None else (owner, list(nodes))


_MOST_KNOWN = 100


def _address(entry: Sequence[Any], asked: Node) -> Node:
    """Return the address of a node in a reply to CLUSTER SLOTS; one without a host is reached as the one asked."""
    host = (entry[0] or b"").decode()
    return Node(host if host not in ("", "?") else asked.host, int(entry[1]))


def _role(reply: Any) -> Any:
    if isinstance(reply, Exception):
        raise reply
    return reply[0]
