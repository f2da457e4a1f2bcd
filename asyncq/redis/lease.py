"""The lease of a consumer, on a connection of its own thread."""

from collections.abc import Mapping, Sequence
from typing import Any

from asyncq.clock import ServerClock
from asyncq.errors import BrokerUnavailable
from asyncq.redis.connecting import connect_thread, exchange_in_thread
from asyncq.redis.faults import FAULTS, has_unknown_script, is_passing
from asyncq.redis.keys import KeySpace
from asyncq.redis.server import Command, Plan, Reply, Server, call
from asyncq.redis.takeover import RECLAIM, reclaim_expired
from asyncq.redis.topology import Node
from asyncq.redis.wires import ThreadWire
from asyncq.transport import Lease


class RedisLease(Lease):
    """A consumer's lease; `reclaim` is the script that takes over what others hold."""

    def __init__(self, server: Server, space: KeySpace, name: str, lease_ms: int, *, reclaim: str = RECLAIM) -> None:
        self._link = ThreadLink(server)
        self._space = space
        self._name = name
        self._lease_ms = lease_ms
        self._reclaim = reclaim

    def renew(self, about: bytes | None = None) -> bool:
        command = call("renew", self._space.own, self._name, self._lease_ms, *(() if about is None else (about,)))
        [now_ms] = self._link.call([command], "renew a lease")
        if now_ms:
            self._link.clock.set(now_ms)
        return now_ms > 0

    def next_end(self) -> float | None:
        [reply] = self._link.call([("ZRANGE", self._space.own["workers"], 0, -1, "WITHSCORES")], "look at leases")
        ends = [
            float(end_ms) for name, end_ms in zip(reply[::2], reply[1::2], strict=True) if name != self._name.encode()
        ]
        if not ends:
            return None
        if max(ends) == float("inf"):  # somebody's reclaimer has died over it
            return 0.0
        return (min(ends) - self._link.clock.now_ms()) / 1000

    def reclaim(self) -> Mapping[str, int]:
        # By the time of the decision: if the server stands still while this is on its way, everybody's lease runs out.
        at_ms = self._link.clock.now_ms()
        plan = reclaim_expired(self._space, self._name, at_ms, reclaim=self._reclaim)
        return self._link.follow(plan, "reclaim")

    def close(self) -> None:
        self._link.close()


class ThreadLink:
    """A connection of a thread that is opened when it is needed, and again after it broke.

    Attributes:
        clock: the server's, by what it said last.
    """

    def __init__(self, server: Server) -> None:
        self.clock = ServerClock()
        self._server = server
        self._wire: ThreadWire | None = None
        self._node: Node | None = None
        self._era = 0

    def call(self, commands: Sequence[Command], wanted: str) -> list[Reply]:
        """Send commands, a second time where the connection was dead. Raises BrokerUnavailable."""
        was_connected = self._wire is not None
        try:
            try:
                replies = self._talk(commands)
            except FAULTS as error:
                if not was_connected or not is_passing(error):
                    raise
                replies = self._talk(commands)
        except BrokerUnavailable:
            raise
        except FAULTS as error:
            raise self._server.failed(wanted, error) from error
        self._server.check(replies, wanted)
        return replies

    def follow(self, plan: Plan, wanted: str) -> Any:
        """Take the steps of a plan; each does no harm when it is taken twice."""
        try:
            commands = next(plan)
            while True:
                commands = plan.send(self.call(commands, wanted) if commands else [])
        except StopIteration as end:
            return end.value

    def close(self) -> None:
        """Disconnect; the next call connects again."""
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.disconnect()

    def _talk(self, commands: Sequence[Command]) -> list[Reply]:
        try:
            if self._era != self._server.era:
                self.close()
            wire = self._wire or self._connect()
            replies = exchange_in_thread(self._server, wire, commands)
            if has_unknown_script(replies):
                self._teach(wire, self._server.repeat_unknown(commands, replies))
        except BaseException as error:
            if self._wire is not None and self._node is not None:
                self._server.heed(error, self._node)
            self.close()
            raise
        return replies

    def _teach(self, wire: ThreadWire, plan: Plan) -> None:
        try:
            commands = next(plan)
            while True:
                commands = plan.send(exchange_in_thread(self._server, wire, commands))
        except StopIteration:
            return

    def _connect(self) -> ThreadWire:
        self._wire, found = connect_thread(self._server)
        self._node, self._era = found.node, found.era
        self.clock.set(found.now_ms)
        return self._wire
