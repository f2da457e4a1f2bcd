"""The server: how it is reached, what is said to it, and what its errors mean."""

import asyncio
import threading
from collections.abc import Callable, Generator, Sequence
from typing import Any, NamedTuple, TypeAlias, cast

import hiredis
from redis.crc import key_slot
from redis.exceptions import MovedError, NoScriptError, ResponseError

from asyncq.clock import SteadyClock
from asyncq.errors import BrokerUnavailable, ConfigurationError, PublishRefused
from asyncq.redis.faults import is_forbidden, is_passing
from asyncq.redis.keys import Keys
from asyncq.redis.script import ScriptSet, all_scripts
from asyncq.redis.topology import Alone, Cluster, Node, Topology, Visit
from asyncq.redis.urls import read_url, topology_of
from asyncq.redis.wires import ThreadWire, Wire, Wires

Argument: TypeAlias = str | bytes | int
Reply: TypeAlias = Any

_RESET_WORDS = ("handler is closed", "'_add_writer'")
"""Of a connection that was reset while nothing was read or written: uvloop's, and asyncio's from Python 3.12 on."""


class Call(NamedTuple):
    """A script to run."""

    script: str
    keys: tuple[str, ...]
    arguments: Sequence[Argument]


Command: TypeAlias = Call | tuple[Argument, ...]
Plan: TypeAlias = Generator[Sequence[Command], list[Reply], Any]
"""Steps that do not care whether a thread or an event loop takes them: yields commands, is sent their replies."""

# Its stub says that it takes one argument, and nothing of what it returns.
_pack = cast(Callable[[tuple[Argument, ...]], bytes], cast(Any, hiredis).pack_command)


class Found(NamedTuple):
    """Where a search has ended: at a node, at what time by its clock, and in which era."""

    node: Node
    now_ms: int
    era: int


class Server:
    """The Redis that a URL names: one server, or whichever of several is the master now.

    Attributes:
        address: host and port, or path, or those of the nodes that were named, without secrets.
        topology: where to look for it.
        clock: the server's, as it was told at the last connect.
        era: begins anew when the master was found elsewhere, or again after a fault. What happened to one connection
            may have happened to all: those of an earlier era are not used any more.
    """

    def __init__(self, url: str, *, connect_timeout: float, command_timeout: float) -> None:
        target = read_url(url)
        self.address = target.name
        self.connect_timeout = connect_timeout
        self.command_timeout = command_timeout
        self.clock = SteadyClock()
        self.topology: Topology = topology_of(target)
        self.era = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._home: Node | None = None
        self._has_fault = False
        self._finding = threading.Lock()  # a lease's thread searches, too
        self._cuts: set[Callable[[], None]] = set()
        self._slot = 0
        self._wires = Wires(target, connect_timeout=connect_timeout, read_timeout=command_timeout)
        self._scripts = ScriptSet(with_flags=True)

    @property
    def visit_timeout(self) -> float:
        """Seconds that one node may take while the master is looked for; three may in the time of one connect."""
        return self.connect_timeout / (1 if isinstance(self.topology, Alone) else 3)

    def keep(self, key: str) -> None:
        """Look, in a cluster, for the node that keeps this key and those that share its hash tag."""
        self._slot = key_slot(key.encode())
        if isinstance(self.topology, Cluster):
            self.topology.slot = self._slot

    def join_cluster(self) -> None:
        """Take note that the server belongs to a cluster, of which the URL knows nothing."""
        if isinstance(self.topology, Alone):
            self.topology = Cluster([self.topology.node], self._slot)
            self._begin_era()

    def check_loop(self) -> None:
        """Raise ConfigurationError on another event loop than the first that asked: connections can't be shared."""
        loop = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = loop
        elif self._loop is not loop:
            raise ConfigurationError(
                f"The connections to Redis at {self.address} belong to another event loop. A transport or store lives "
                "on one loop: make one for each, or use a broker, which does that."
            )

    def found(self, node: Node, time: Reply) -> Found:
        """Take note of the end of a search. Raises BrokerUnavailable if the node does not tell the time."""
        if isinstance(time, ResponseError) and "unknown command" in str(time):
            raise ConfigurationError(
                f"{node} does not even tell the time. If it is a Sentinel, it keeps no data; name the service that it "
                "watches: redis+sentinel://host[:port]/service"
            )
        self.check([time], "tell the time")
        with self._finding:
            if self._has_fault or node != self._home:
                self._home, self._has_fault = node, False
                self._begin_era()
            return Found(node, milliseconds(time), self.era)

    def expect(self, node: Node) -> None:
        """Have the master looked for again, unless it is known to be this one."""
        with self._finding:
            if self._home is not None and node != self._home:
                self._begin_era()

    def heed(self, error: BaseException, node: Node) -> None:
        """Take note of a fault on a connection to a node, and of what it says of where to look."""
        self._has_fault = True
        self.topology.doubt(node)
        if isinstance(error, MovedError):
            self.join_cluster()
            if isinstance(self.topology, Cluster):
                host, port = cast(tuple[str, int], cast(Any, error).node_addr)
                self.topology.prefer(Node(host or node.host, port))

    def watch(self, cut: Callable[[], None]) -> None:
        """Guard a long wait: `cut` is called, in any thread, when another era begins. It would learn that last."""
        self._cuts.add(cut)

    def unwatch(self, cut: Callable[[], None]) -> None:
        """Guard it no longer."""
        self._cuts.discard(cut)

    def connection(self, visit: Visit) -> Wire:
        """Return a new connection for an event loop, not connected yet."""
        return self._wires.wire(visit)

    def thread_connection(self, visit: Visit) -> ThreadWire:
        """Return a new connection for a thread, not connected yet."""
        return self._wires.thread_wire(visit, visit_timeout=self.visit_timeout)

    def pack(self, commands: Sequence[Command]) -> list[bytes]:
        """Return commands as they are sent."""
        return [_pack(self._words(command)) for command in commands]

    async def send(self, wire: Wire, commands: Sequence[Command]) -> None:
        """Write commands. Raises one of FAULTS: the connection may have broken while nobody used it."""
        try:
            await wire.send_packed_command(self.pack(commands), check_health=False)
        except (RuntimeError, AttributeError) as error:
            if not any(words in str(error) for words in _RESET_WORDS):
                raise
            raise ConnectionError("The connection was reset while it was idle.") from error

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
                raise self.refused(wanted, reply) from reply

    def refused(self, wanted: str, error: Exception) -> BrokerUnavailable:
        """Return the error to raise when the server has something against what was wanted."""
        advice = " The rights that asyncq needs are in docs/redis.md." if is_forbidden(error) else ""
        return BrokerUnavailable(f"Redis at {self.address} refused to {wanted}: {error}{advice}")

    def overfull(self, reply: Reply) -> PublishRefused:
        """Return why nothing is stored, of a reply that says that there is no room."""
        return PublishRefused(f"Redis at {self.address} takes nothing more: {reply}")

    def failed(self, wanted: str, error: Exception) -> BrokerUnavailable:
        """Return the error to raise for a fault."""
        return self.unavailable(wanted, error) if is_passing(error) else self.refused(wanted, error)

    def unavailable(self, wanted: str, error: BaseException | None, *, seconds: float = 0) -> BrokerUnavailable:
        """Return the error to raise when something did not come to pass."""
        tried = f"tried to {wanted}{f' for {seconds:g} s' if seconds else ''}"
        cause = f" {type(error).__name__}: {error}" if error is not None and str(error) else ""
        return BrokerUnavailable(f"Redis at {self.address} does not answer; {tried}.{cause}")

    def _begin_era(self) -> None:
        self.era += 1
        for cut in list(self._cuts):
            cut()

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
