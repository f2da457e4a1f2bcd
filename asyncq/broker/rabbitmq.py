"""The broker on RabbitMQ."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from asyncq.broker.broker import Broker
from asyncq.broker.kinds import broker_from_url
from asyncq.broker.outrunning import outrunning
from asyncq.broker.urls import hidden_password
from asyncq.errors import ConfigurationError
from asyncq.findings import Finding, Severity
from asyncq.rabbitmq import (
    HEARTBEAT,
    HEARTBEAT_WITH_LEDGER,
    NotedStore,
    Noter,
    RabbitClient,
    RabbitReplies,
    RabbitTransport,
    RememberingTransport,
)
from asyncq.rabbitmq.checks import examine, needed, priorities
from asyncq.rabbitmq.names import Names
from asyncq.rabbitmq.topology import Topology, definitions
from asyncq.rabbitmq.urls import read_urls
from asyncq.store import Address, Store
from asyncq.transport import Transport

_OF_THE_STORE = ("namespace", "connect_timeout", "command_timeout")


class RabbitMQBroker(Broker):
    """A broker on RabbitMQ, 3.10 or later.

    RabbitMQ has no memory of calls. With a store beside it, calls are known by their ids: they can be looked at, waited
    for from anywhere and cancelled, and run by one worker at a time. Without one, their ends are told to who has
    published them, and what needs more raises NotSupported.

    Args:
        url: `amqp://[user:password@]host[:port][/virtual host]`, or `amqps://` for TLS; several, or several hosts in
            one, are the nodes of a cluster.
        store: what remembers: the URL of a Redis (a server, sentinels or a cluster, see `RedisBroker`), a SQLite file
            or `memory://`, or a broker there; what is in it of this namespace belongs to this broker alone. Losing it
            loses results, never a task. None: nothing does.
        heartbeat: seconds of silence after which the server and we take each other for gone; None: as the URL says, or
            60, with a store 15. A worker whose event loop is blocked for twice that loses its connection; with a store
            what it runs is its own all the same. What was sent to a frozen worker is sent to others after two or three.
        consumer_timeout: seconds, as the server has it. With a store a task may take longer.
        declare: whether exchanges and queues are declared here; False: they are there already, and only looked for.
        options: see `Broker`.
    """

    def __init__(
        self,
        url: str | Sequence[str] = "amqp://localhost:5672",
        *,
        store: str | Broker | None = None,
        heartbeat: int | None = None,
        consumer_timeout: float = 1_800.0,
        declare: bool = True,
        **options: Any,
    ) -> None:
        if consumer_timeout <= 0:
            raise ConfigurationError(f"consumer_timeout is more than 0 seconds; got {consumer_timeout!r}.")
        if isinstance(store, str):
            kept = {name: options[name] for name in _OF_THE_STORE if name in options}
            store = broker_from_url(store, **kept)
        if isinstance(store, RabbitMQBroker):
            raise ConfigurationError("RabbitMQ cannot remember calls: store= is the URL of a Redis or a SQLite file.")
        self.store = store
        self.capabilities = (
            RabbitTransport.capabilities
            if store is None
            else replace(
                RememberingTransport.capabilities,
                is_shared=store.capabilities.is_shared,
                spans_machines=store.capabilities.spans_machines,
            )
        )
        super().__init__(**options)
        self.urls = (url,) if isinstance(url, str) else tuple(url)
        self.heartbeat = heartbeat
        self.consumer_timeout = consumer_timeout
        self.declare = declare
        self._reply_queues: dict[Address, int] = {}

    def describe(self) -> str:
        messages = ",".join(map(hidden_password, self.urls))
        return messages if self.store is None else f"{messages} with store {self.store.describe()}"

    def connect(self) -> tuple[Transport, Store]:
        queues = list(self.queues.values())
        client = RabbitClient(
            self.urls,
            namespace=self.namespace,
            priorities=self._largest_priorities(),
            connect_timeout=self.connect_timeout,
            command_timeout=self.command_timeout,
            heartbeat=self.heartbeat,
            usual_heartbeat=HEARTBEAT if self.store is None else HEARTBEAT_WITH_LEDGER,
            declare=self.declare,
        )
        if self.store is None:
            transport = RabbitTransport(client, queues=queues, dead_cap=self.dead_letter_cap)
            return transport, RabbitReplies(client, self.reply_address(), self._reply_queues)
        ledger, store = self.store.connect_ledger()
        noter = Noter(ledger)
        transport = RememberingTransport(
            client,
            ledger,
            noter,
            queues=queues,
            dead_cap=self.dead_letter_cap,
            consumer_timeout=self.consumer_timeout,
        )
        return transport, NotedStore(store, noter)

    def definitions(self) -> str:
        """Return all that this application needs on the server, but for queues of replies, which each process declares.

        JSON for `rabbitmqadmin import` and `rabbitmqctl import_definitions`. Nothing is asked of the server.
        """
        return definitions(needed(self._topology(), self._own_queues()), read_urls(self.urls)[0].vhost)

    def cautions(self, queues: Collection[str]) -> Sequence[Finding]:
        """Return which tasks may run for longer than `consumer_timeout` where nothing but a message stands for them."""
        return outrunning(self.tasks.values(), queues, self.consumer_timeout) if self.store is None else ()

    async def _examine(self) -> Sequence[Finding]:
        findings = await examine(
            read_urls(self.urls),
            self._topology(),
            self._own_queues(),
            declares=self.declare,
            connect_timeout=self.connect_timeout,
            command_timeout=self.command_timeout,
        )
        return [*findings, *priorities(self._largest_priorities()), *await self._examine_store()]

    async def _examine_store(self) -> Sequence[Finding]:
        if self.store is None:
            text = f"There is none, so no call is known by its id. To add one: {self.capabilities.remedy}."
            return [Finding(Severity.NOTE, "store", text)]
        long = f"Tasks that run for longer than {self.consumer_timeout:g} s are held under a lease in the store."
        found = [replace(finding, about=f"store: {finding.about}") for finding in await self.store.check()]
        return [*found, Finding(Severity.OK, "consumer_timeout", long)]

    def _topology(self) -> Topology:
        return Topology(Names(self.namespace), self._largest_priorities())

    def _largest_priorities(self) -> Mapping[str, int]:
        return {queue.name: queue.max_priority for queue in self.queues.values() if queue.max_priority}
