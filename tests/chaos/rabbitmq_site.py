"""The site on RabbitMQ: a node that moves the messages, and beside it a place that remembers their calls."""

import asyncio
import json
from collections.abc import Mapping

from asyncq import Broker, broker_from_url
from asyncq.rabbitmq import RabbitClient
from asyncq.rabbitmq.delays import LEVELS, VALUES, Rung, route
from asyncq.rabbitmq.names import Names
from tests.chaos.faults import OF_NODE, Fault, FaultKind
from tests.chaos.networks import FAULTS, Networks
from tests.chaos.site import NAMESPACE, Site
from tests.rabbitmq_servers import RabbitMQServer
from tests.waiting import wait_until

NAMES = Names(NAMESPACE)
QUEUE, LETTERS = NAMES.queue("default"), NAMES.dead_letters("default")
RUNGS = {NAMES.rung(Rung(level, value)) for level in range(LEVELS) for value in VALUES}
QUEUES = {QUEUE, LETTERS, NAMES.stray, *RUNGS}
EXCHANGES = {NAMES.ready, NAMES.dead, NAMES.due, NAMES.stray, NAMES.replies, *map(NAMES.level, range(LEVELS))}

CRASH_CHANNELS = "[exit(Channel, kill) || Channel <- rabbit_channel:list()]."
CRASH_QUEUES = """
[exit(whereis(element(1, amqqueue:get_pid(Queue))), kill) || Queue <- rabbit_amqqueue:list(<<"/">>)].
"""
"""Each is a process, which its supervisor starts again from its log. They are told apart by names, not by numbers."""
ARE_UP = """
lists:all(fun(Q) -> ok =:= element(1, ra:members(amqqueue:get_pid(Q), 1000)) end, rabbit_amqqueue:list(<<"/">>)).
"""
LIST_EXCHANGES = """
Names = [element(4, Name) || Name <- rabbit_exchange:list_names()],
binary_to_list(rabbit_json:encode([Name || Name <- Names, Name =/= <<>>])).
"""


class RabbitMQSite(Site):
    """A node behind two networks, and a store behind others.

    Args:
        node, networks: the two.
        store: its faults come here, too.
    """

    def __init__(self, node: RabbitMQServer, networks: Networks, store: Site) -> None:
        self.url = node.url
        self._node = node
        self._networks = networks
        self._store = store
        self._turn = asyncio.Lock()

    def broker(self) -> Broker:
        return broker_from_url(self.url, namespace=NAMESPACE, store=self._store.url)

    async def prepare(self) -> None:
        """Declare the queues: one that is new when the node is killed is lost, and what was confirmed in it."""
        client = RabbitClient(self.url, namespace=NAMESPACE, priorities={}, connect_timeout=10, command_timeout=30)
        await client.open()
        try:
            await client.provide("default")
            await client.provide_ladder([route(Rung(level, value).wait_ms) for level in range(6) for value in VALUES])
        finally:
            await client.close()

    def variables_of(self, crew: int) -> Mapping[str, str]:
        return {**super().variables_of(crew), "CHAOS_STORE": self._store.url_of(crew)}

    def url_of(self, crew: int) -> str:
        return self._networks.of(crew).url("amqp", "/")

    def is_hit(self, fault: Fault, crew: int) -> bool:
        if fault.kind not in OF_NODE:
            return self._store.is_hit(fault, crew)
        return fault.kind not in FAULTS or self._networks.is_hit(fault, crew)

    def turn_of(self, fault: Fault) -> asyncio.Lock:
        if fault.kind not in OF_NODE:
            return self._store.turn_of(fault)
        return self._networks.turn_of(fault) if fault.kind in FAULTS else self._turn

    async def suffer(self, fault: Fault) -> None:
        if fault.kind not in OF_NODE:
            await self._store.suffer(fault)
        elif fault.kind in FAULTS:
            await self._networks.suffer(fault)
        else:
            await self._disturb_node(fault)

    async def consumers(self) -> int:
        return await self._store.consumers()

    async def is_drained(self) -> bool:
        counts = await asyncio.to_thread(self._node.queues)
        return not any(count for queue, count in counts.items() if queue != LETTERS)

    async def left_behind(self) -> str:
        counts = await asyncio.to_thread(self._node.queues)
        full = {queue: count for queue, count in counts.items() if count and queue != LETTERS}
        exchanges = set(json.loads(await asyncio.to_thread(self._node.evaluate, LIST_EXCHANGES)))
        ours = {exchange for exchange in exchanges if not exchange.startswith("amq.")}
        left = {
            "in the store": await self._store.left_behind(),
            "queues that are not empty": full,
            "queues of no documented name": sorted(set(counts) - QUEUES),
            "exchanges of no documented name": sorted(ours - EXCHANGES),
        }
        return "; ".join(f"{what}: {found}" for what, found in left.items() if found)

    async def _disturb_node(self, fault: Fault) -> None:
        node = self._node
        match fault.kind:
            case FaultKind.KILL_NODE:
                await asyncio.to_thread(node.flush)
                await asyncio.to_thread(node.kill)
                await asyncio.sleep(fault.seconds)  # the outage itself
                await asyncio.to_thread(node.start)
                await self._wait_for_queues()
            case FaultKind.FREEZE_NODE:
                node.pause()
                await asyncio.sleep(fault.seconds)  # the frost itself
                node.resume()
            case FaultKind.STOP_APP:
                await asyncio.to_thread(node.evaluate, "rabbit:stop().")
                await asyncio.sleep(fault.seconds)  # the outage itself
                await asyncio.to_thread(node.evaluate, "rabbit:start().")
                await self._wait_for_queues()
            case FaultKind.MEMORY_ALARM:
                await asyncio.to_thread(node.block_publishers)
                await asyncio.sleep(fault.seconds)  # the alarm itself
                await asyncio.to_thread(node.unblock_publishers)
            case FaultKind.CLOSE_CONNECTIONS:
                await asyncio.to_thread(node.close_connections)
            case FaultKind.CRASH_CHANNELS:
                await asyncio.to_thread(node.evaluate, CRASH_CHANNELS)
            case FaultKind.CRASH_QUEUES:
                await asyncio.to_thread(node.evaluate, CRASH_QUEUES)
                await self._wait_for_queues()
            case _:
                raise ValueError(fault)

    async def _wait_for_queues(self) -> None:
        """Return when all queues answer: one that crashes again meanwhile is given up by its supervisor, for good."""

        async def are_up() -> bool:
            return await asyncio.to_thread(self._node.evaluate, ARE_UP) == "true"

        await wait_until(are_up, "the queues are up again", timeout=60)
