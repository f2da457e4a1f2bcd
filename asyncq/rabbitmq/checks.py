"""The checks: what is to be said of the servers, of what is declared there, and of what this user may do."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from aiormq.exceptions import ChannelAccessRefused

from asyncq.errors import BrokerUnavailable, ConfigurationError
from asyncq.findings import Finding, Severity
from asyncq.rabbitmq.comparing import Comparison, compare
from asyncq.rabbitmq.connection import Connection, asking, connect
from asyncq.rabbitmq.delays import LEVELS, rungs_up_to
from asyncq.rabbitmq.server import PRODUCT
from asyncq.rabbitmq.topology import Binding, Declaration, Topology
from asyncq.rabbitmq.urls import Target

ALARM_SECONDS = 3.0
"""How long a server may take to confirm what is for nobody; one without an alarm takes milliseconds."""


def needed(topology: Topology, queues: Iterable[str]) -> Sequence[Declaration]:
    """Return all that these queues need, and delays of any length. Queues of replies are each process's own affair."""
    parts = [part for queue in queues for part in topology.queue(queue)]
    ladders = [False, True] if topology.has_urgent else [False]
    rungs = [rung for is_urgent in ladders for rung in rungs_up_to(LEVELS - 1, is_urgent=is_urgent)]
    return list(dict.fromkeys([*parts, *topology.ladder(rungs)]))


async def examine(
    targets: Sequence[Target],
    topology: Topology,
    queues: Sequence[str],
    *,
    declares: bool,
    connect_timeout: float,
    command_timeout: float,
) -> Sequence[Finding]:
    """Look at each node, and over the first that answers at what is declared, and whether there is an alarm.

    Args:
        targets: the nodes.
        topology: of the namespace.
        queues: that are used.
        declares: whether what is missing will be declared when it is needed.
        connect_timeout: seconds for each node.
        command_timeout: seconds that the server may take to answer.
    """
    findings: list[Finding] = []
    connection: Connection | None = None
    try:
        for target in targets:
            try:
                opened = await connect([target], "checking", seconds=connect_timeout)
            except (BrokerUnavailable, ConfigurationError) as error:
                findings.append(Finding(Severity.ERROR, "server", str(error)))
                continue
            findings.append(_server(opened))
            if connection is None:
                connection = opened
            else:
                await opened.close()
        if connection is not None:
            findings = [_beside_others(finding) for finding in findings]
            async with asking("tell what is declared", connection.address, seconds=command_timeout):
                found = await compare(connection.channel, needed(topology, queues))
            findings += [*_missing(found, declares), *_differing(found, declares)]
            if _has(found, topology.names.stray):
                findings += await _strayed(connection, topology.names.stray, command_timeout)
            exchange = topology.names.ready if _has(found, topology.names.ready) else ""
            findings.append(await _alarm(connection, exchange, min(ALARM_SECONDS, command_timeout)))
    except (BrokerUnavailable, ConfigurationError) as error:
        findings.append(Finding(Severity.ERROR, "server", str(error)))
    finally:
        if connection is not None:
            await connection.close()
    return findings


def priorities(largest: Mapping[str, int]) -> Sequence[Finding]:
    """Say what queues with priorities are. `largest`: the largest priority of each."""
    names = ", ".join(sorted(largest))
    text = (
        "These queues have priorities, and so are classic queues: each is on one node of a cluster, and away while "
        f"that node is: {names}."
    )
    return [Finding(Severity.NOTE, "priorities", text)] if largest else []


def _server(connection: Connection) -> Finding:
    server = connection.server
    if server.is_rabbitmq:
        return Finding(Severity.OK, "server", f"{server} at {connection.address}.")
    text = f"{server} at {connection.address} is no {PRODUCT}: asyncq is made for that, and tested with nothing else."
    return Finding(Severity.WARNING, "server", text)


def _beside_others(finding: Finding) -> Finding:
    """Return what is to be said of a node where another one answers."""
    return replace(finding, severity=Severity.WARNING) if finding.severity is Severity.ERROR else finding


def _has(found: Comparison, name: str) -> bool:
    return any(not isinstance(part, Binding) and part.name == name for part in found.present)


def _missing(found: Comparison, declares: bool) -> list[Finding]:
    total = len(found.present) + len(found.absent)
    if not found.absent:
        return [Finding(Severity.OK, "topology", f"All {total} exchanges and queues are there.")]
    if declares:
        text = f"{len(found.present)} of {total} exchanges and queues are there; others are declared when first used."
        return [Finding(Severity.OK, "topology", text)]
    text = (
        f"{len(found.absent)} of {total} exchanges and queues are missing, and declare=False was given. `asyncq check "
        "APP --definitions` prints all that is needed, for `rabbitmqadmin import` and `rabbitmqctl import_definitions`."
    )
    return [Finding(Severity.ERROR, "topology", text, tuple(map(str, found.absent)))]


def _differing(found: Comparison, declares: bool) -> list[Finding]:
    severity = Severity.ERROR if declares else Severity.WARNING
    findings = [Finding(severity, "topology", text) for text in found.differing]
    if found.is_guess and declares:
        text = "The user of the URL may not declare what is there. Let it configure that, or set declare=False."
        findings.append(Finding(Severity.ERROR, "rights", text))
    elif found.is_guess:
        text = "Whether the arguments of what is there are right was not looked at: only who may declare it can see."
        findings.append(Finding(Severity.NOTE, "topology", text))
    return findings


async def _strayed(connection: Connection, stray: str, seconds: float) -> list[Finding]:
    async with asking("look at a queue", connection.address, seconds=seconds):
        channel = await connection.channel()
        count = (await channel.queue_declare(stray, passive=True)).message_count or 0
        await channel.close()
    text = (
        f"{count} messages became due for queues that were not there. They are kept in the queue {stray!r}: "
        "look at them, and purge it."
    )
    return [Finding(Severity.WARNING, "stray messages", text)] if count else []


async def _alarm(connection: Connection, exchange: str, seconds: float) -> Finding:
    """Publish something that is for nobody: the server drops it, and tells only who publishes that it is blocked.

    Args:
        connection: to the server.
        exchange: where; one to which no queue is bound without a name.
        seconds: that it may take to be confirmed.
    """
    try:
        async with asking("confirm a message", connection.address, seconds=seconds):
            channel = await connection.channel(confirms=True)
            for _ in range(2):  # the first one may still be taken
                await channel.basic_publish(b"", exchange=exchange)
    except BrokerUnavailable:
        if not connection.is_blocked:
            raise
        text = "The server is short of memory or of disk, and takes no messages until that is over."
        return Finding(Severity.ERROR, "alarm", text)
    except ConfigurationError as error:
        if not isinstance(error.__cause__, ChannelAccessRefused):
            raise
        if exchange:
            text = f"The user of the URL may not publish: it needs the right to write to {exchange!r}."
            return Finding(Severity.ERROR, "rights", text)
        text = "Whether the server is short of memory or disk is not known: this user may not write to amq.default."
        return Finding(Severity.NOTE, "alarm", text)
    return Finding(Severity.OK, "alarm", "The server has memory and disk left: it takes messages.")
