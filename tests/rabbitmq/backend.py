"""RabbitMQ as a backend of the conformance suites, and for tests that use their stage."""

from collections.abc import Sequence
from dataclasses import replace
from weakref import WeakKeyDictionary

from asyncq import Queue
from asyncq.rabbitmq import NotedStore, Noter, RabbitClient, RabbitReplies, RabbitTransport, RememberingTransport
from asyncq.store import Store
from asyncq.testing.conformance import Backend, LedgerBackend
from asyncq.testing.conformance.stage import OTHER_QUEUE, QUEUE
from asyncq.transport import Transport


class RabbitMQ(Backend):
    """A server, to which every process has connections of its own."""

    capabilities = RabbitTransport.capabilities

    def __init__(self, url: str) -> None:
        self._url = url
        self._pairs = 0

    def make_pair(self, namespace: str, *, queues: Sequence[Queue], dead_cap: int) -> tuple[Transport, Store]:
        self._pairs += 1
        client = self.client(namespace, queues)
        transport = RabbitTransport(client, queues=queues, dead_cap=dead_cap)
        return transport, RabbitReplies(client, f"process-{self._pairs}")

    def client(self, namespace: str, queues: Sequence[Queue]) -> RabbitClient:
        """Return connections of a process's own."""
        return RabbitClient(
            self._url,
            namespace=namespace,
            priorities={queue.name: queue.max_priority for queue in queues if queue.max_priority},
            connect_timeout=10,
            command_timeout=20,
        )


class RememberingRabbitMQ(RabbitMQ):
    """A server, and beside it a store.

    Args:
        url: of the server.
        memory: where calls are remembered.
        consumer_timeout: seconds, as the server has it.
    """

    capabilities = RememberingTransport.capabilities

    def __init__(self, url: str, memory: LedgerBackend, *, consumer_timeout: float = 1_800) -> None:
        super().__init__(url)
        self._memory = memory
        self._consumer_timeout = consumer_timeout
        self._noters = WeakKeyDictionary[Transport, Noter]()

    def make_pair(self, namespace: str, *, queues: Sequence[Queue], dead_cap: int) -> tuple[Transport, Store]:
        ledger, store = self._memory.make_ledger_pair(namespace)
        noter = Noter(ledger)
        transport = RememberingTransport(
            self.client(namespace, queues),
            ledger,
            noter,
            queues=queues,
            dead_cap=dead_cap,
            consumer_timeout=self._consumer_timeout,
        )
        self._noters[transport] = noter
        return transport, NotedStore(store, noter)

    async def published(self, transport: Transport) -> None:
        await self._noters[transport].tried()


class _WithPriorities(RabbitMQ):
    """Queues that ask for all priorities."""

    def make_pair(self, namespace: str, *, queues: Sequence[Queue], dead_cap: int) -> tuple[Transport, Store]:
        declared = {queue.name: queue for queue in queues}
        every = [replace(declared.get(name, Queue(name)), max_priority=9) for name in {QUEUE, OTHER_QUEUE, *declared}]
        return super().make_pair(namespace, queues=every, dead_cap=dead_cap)


class PrioritizedRabbitMQ(_WithPriorities):
    """A server with such queues."""

    capabilities = replace(RabbitMQ.capabilities, has_priorities=True)


class PrioritizedRememberingRabbitMQ(_WithPriorities, RememberingRabbitMQ):
    """The same with a store beside it."""

    capabilities = replace(RememberingRabbitMQ.capabilities, has_priorities=True)
