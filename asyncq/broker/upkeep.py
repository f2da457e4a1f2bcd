"""The upkeep: the part of a broker that is for whoever looks after it."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence

from asyncq.broker.dead import DeadLetters
from asyncq.broker.inspection import QueueCounts, WorkerInfo, counts_of, workers_of
from asyncq.broker.uniqueness import UniqueOwner, owners_of
from asyncq.errors import BrokerUnavailable, ConfigurationError, NotSupported
from asyncq.findings import Finding, Severity
from asyncq.tasks.checks import check_count
from asyncq.transport import Capabilities, Transport


class Upkeep(ABC):
    """Looks at queues, workers, dead letters and the server."""

    capabilities: Capabilities

    @property
    def dead(self) -> DeadLetters:
        """The calls that failed for good: to be listed, looked at, run again and dropped."""
        return DeadLetters(self._transport, self._all_queues)

    async def queue_counts(self) -> Sequence[QueueCounts]:
        """Return how each queue stands: those that tasks and Queues name, and those that were ever published to.

        What this broker cannot tell is None.
        """
        return await counts_of(await self._transport(), await self._all_queues())

    async def workers(self) -> Sequence[WorkerInfo]:
        """Return the workers of this namespace, wherever they run, as they last told of themselves.

        Raises:
            NotSupported: the broker has no memory.
        """
        self._need_memory("workers()")
        return await workers_of(await self._transport())

    async def unique_keys(self, prefix: str = "", *, limit: int = 1_000) -> Sequence[UniqueOwner]:
        """Return the unique keys that are taken, in alphabetical order, with the calls that have them.

        Args:
            prefix: only those that begin like this; a task's begin with its name and a colon.
            limit: how many at most.

        Raises:
            NotSupported: the broker keeps none.
        """
        self.check_unique("unique_keys()")
        check_count(limit=limit)
        return await owners_of(await self._transport(), prefix, limit)

    async def clear_unique(self, key: str) -> bool:
        """Give back a unique key, so that its next call is published; return whether it was taken.

        The call that has it stays as it is, and runs.

        Raises:
            NotSupported: the broker keeps none.
        """
        self.check_unique("clear_unique()")
        return await (await self._transport()).clear_unique(key)

    async def check(self) -> Sequence[Finding]:
        """Return what is to be said of the server, of its settings, and of what this application does there.

        Over connections of its own, whether or not the broker is open. A server that is away, or refuses, is a finding.
        """
        try:
            return [*await self._examine(), *self.cautions(self._own_queues())]
        except (BrokerUnavailable, ConfigurationError) as error:
            return [Finding(Severity.ERROR, "server", str(error))]

    def cautions(self, queues: Collection[str]) -> Sequence[Finding]:
        """Return what a worker of these queues says at its start, about tasks that will not run as declared."""
        return ()

    def definitions(self) -> str:
        """Return what has to be declared on the server, as JSON for its tools; see `RabbitMQBroker`.

        Raises:
            NotSupported: nothing has to be declared there.
        """
        raise NotSupported(f"On the server of a {type(self).__name__} nothing has to be declared.")

    async def _examine(self) -> Sequence[Finding]:
        """Return what is to be said of the server. Raises BrokerUnavailable and ConfigurationError."""
        return ()

    def _need_memory(self, what: str) -> None:
        if not self.capabilities.has_memory:
            raise self.capabilities.without_memory(what)

    @abstractmethod
    def check_unique(self, task: str) -> None:
        """Raise NotSupported where nobody remembers who has a unique key."""

    @abstractmethod
    async def _transport(self) -> Transport:
        """Return the transport, opened if need be."""

    @abstractmethod
    def _own_queues(self) -> Sequence[str]:
        """Return the queues that this application names, in alphabetical order."""

    async def _all_queues(self) -> Sequence[str]:
        return sorted({*self._own_queues(), *await (await self._transport()).known_queues()})
