"""Which node of a cluster does what, and what a cluster is given to do."""

import asyncio
import json
from collections.abc import Sequence
from contextlib import suppress
from itertools import count, islice
from random import Random

from asyncq import BrokerUnavailable, Handle, ResultError, Task
from tests.rabbitmq_servers import RabbitMQCluster, RabbitMQServer

BATCH, PAUSE = 20, 0.1

_LEADER = """
{ok, Queue} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"/">>, queue, <<"NAME">>)),
{ok, _, {_, Node}} = ra:members({element(1, amqqueue:get_pid(Queue)), node()}),
atom_to_list(Node).
"""

_NAMES = "binary_to_list(rabbit_json:encode([element(4, Name) || Name <- rabbit_amqqueue:list_names()]))."

_LEADERS = """
Nodes = [Node || {_, Node} <- [amqqueue:get_pid(Queue) || Queue <- rabbit_amqqueue:list()]],
binary_to_list(rabbit_json:encode(Nodes)).
"""

_LEADERS_OF_DELAYS = """
Names = [{element(4, amqqueue:get_name(Queue)), amqqueue:get_pid(Queue)} || Queue <- rabbit_amqqueue:list(<<"/">>)],
binary_to_list(rabbit_json:encode([Node || {Name, {_, Node}} <- Names, binary:match(Name, <<":delay:">>) =/= nomatch])).
"""

NEW_DEAD_LETTER_WORKERS = """
[supervisor:terminate_child(rabbit_fifo_dlx_sup, Worker)
 || {_, Worker, _, _} <- supervisor:which_children(rabbit_fifo_dlx_sup)],
[ra:cast_aux_command({element(1, amqqueue:get_pid(Queue)), node()}, {dlx, setup})
 || Queue <- rabbit_amqqueue:list(), amqqueue:get_type(Queue) =:= rabbit_quorum_queue].
"""
"""What an operator tells a node of RabbitMQ before 3.12.5 while another one stays down: see docs/rabbitmq.md."""


def living(cluster: RabbitMQCluster) -> Sequence[RabbitMQServer]:
    """Return the nodes that run."""
    return [node for node in cluster.nodes if node.is_running]


def queue_names(node: RabbitMQServer) -> Sequence[str]:
    """Return the names of all queues that a node knows, also of those on nodes that are down."""
    return json.loads(node.evaluate(_NAMES))


def leader_of(cluster: RabbitMQCluster, queue: str) -> RabbitMQServer | None:
    """Return the node that leads a quorum queue; None: none does just now, or it is unknown."""
    for asked in living(cluster):
        with suppress(RuntimeError):
            name = asked.evaluate(_LEADER.replace("NAME", queue))
            return next((node for node in living(cluster) if node.node == name), None)
    return None


def follower_of(cluster: RabbitMQCluster, queue: str) -> RabbitMQServer:
    """Return a node that does not lead a quorum queue."""
    leader = leader_of(cluster, queue)
    return next(node for node in living(cluster) if node is not leader)


def most_connected(cluster: RabbitMQCluster) -> RabbitMQServer:
    """Return the node that has most clients."""
    return max(living(cluster), key=lambda node: int(node.evaluate("length(rabbit_networking:local_connections()).")))


def is_led(cluster: RabbitMQCluster) -> bool:
    """Tell whether each quorum queue is said to be led by a node that lives. A classic one waits for its own."""
    first, *_ = nodes = living(cluster)
    return {*json.loads(first.evaluate(_LEADERS))} <= {node.node for node in nodes}


def set_tick_time(cluster: RabbitMQCluster, seconds: int) -> None:
    """Let nodes take one for dead that has said nothing for so long, and a quarter; by default it is 60 s."""
    for node in living(cluster):
        node.evaluate(f"net_kernel:set_net_ticktime({seconds}, 0).")


def set_disconnected_timeout(cluster: RabbitMQCluster, seconds: int) -> None:
    """Let quorum queues that are declared from now on wait so long for the consumers of a node that is gone.

    RabbitMQ before 4.3 does not wait, and does not know this setting; by default it is 60 s.
    """
    for node in living(cluster):
        node.evaluate(f"application:set_env(rabbit, consumer_disconnected_timeout, {1_000 * seconds}).")


def leader_of_delays(cluster: RabbitMQCluster) -> RabbitMQServer:
    """Return the node that leads most queues of ladders."""
    leaders = json.loads(living(cluster)[0].evaluate(_LEADERS_OF_DELAYS))
    return max(living(cluster), key=lambda node: leaders.count(node.node))


class Load:
    """Publishes until it is told to stop, and waits for all ends.

    A third of the tasks is due later, in up to three seconds; a tenth fails at first.

    Args:
        work, falter: tasks that take a number.

    Attributes:
        confirmed: the numbers of what was published for sure.
        ends: how the confirmed ones have ended, as far as they have: what they return, or what is raised instead.
    """

    def __init__(self, work: Task[[int], int], falter: Task[[int], int]) -> None:
        self.confirmed: set[int] = set()
        self.ends: dict[int, int | ResultError] = {}
        self._work = work
        self._falter = falter
        self._random = Random(1)
        self._is_over = asyncio.Event()

    async def run(self) -> None:
        """Publish some 200 a second until `stop`, and return when all of them have ended."""
        numbers = count()
        async with asyncio.TaskGroup() as waiting:
            while not self._is_over.is_set():
                await asyncio.gather(*(self._publish(number, waiting) for number in islice(numbers, BATCH)))
                with suppress(TimeoutError):
                    async with asyncio.timeout(PAUSE):
                        await self._is_over.wait()

    def stop(self) -> None:
        """Publish nothing more."""
        self._is_over.set()

    async def _publish(self, number: int, waiting: asyncio.TaskGroup) -> None:
        task = self._falter if number % 10 == 0 else self._work
        if number % 3 == 0:
            task = task.options(delay=self._random.uniform(0.05, 3))
        with suppress(BrokerUnavailable):  # it may have been published, or not
            handle = await task.kiq(number)
            self.confirmed.add(number)
            waiting.create_task(self._wait(number, handle))

    async def _wait(self, number: int, handle: Handle[int]) -> None:
        try:
            self.ends[number] = await handle
        except ResultError as error:
            self.ends[number] = error
