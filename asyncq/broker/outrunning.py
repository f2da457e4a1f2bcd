"""The outrunning: tasks that may run for longer than a server waits for their end, and what comes of it."""

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from asyncq.findings import Finding, Severity
from asyncq.tasks import Task

MAX_NAMES = 8
"""Tasks that are named; the rest is counted."""

ABOUT = "consumer_timeout"


def outrunning(tasks: Iterable[Task[..., Any]], queues: Collection[str], seconds: float) -> Sequence[Finding]:
    """Say which tasks of these queues may run for longer than RabbitMQ's `consumer_timeout` of so many seconds."""
    limits = {task.name: task.declared.timeout for task in tasks if task.queue in queues}
    late = [f"{name} (timeout {limit:g} s)" for name, limit in limits.items() if limit and limit > seconds]
    unbounded = [name for name, limit in limits.items() if limit is None]
    findings: list[Finding] = []
    if late:
        text = (
            f"Tasks may run for longer than RabbitMQ's consumer_timeout, {seconds:g} s: {_listed(late)}. RabbitMQ then "
            "takes their queue from the worker: what runs goes on, and is run once more. Set consumer_timeout in "
            "rabbitmq.conf and in RabbitMQBroker(url, consumer_timeout=...) to more than they take, or give the broker "
            'a memory: RabbitMQBroker(url, store="redis://...").'
        )
        findings.append(Finding(Severity.WARNING, ABOUT, text))
    if unbounded:
        text = (
            f"Tasks without a time limit (timeout=): {_listed(unbounded)}. One that runs for longer than RabbitMQ's "
            f"consumer_timeout, {seconds:g} s, is run once more."
        )
        findings.append(Finding(Severity.NOTE, ABOUT, text))
    return findings


def _listed(names: Sequence[str]) -> str:
    more = len(names) - MAX_NAMES
    return ", ".join(sorted(names)[:MAX_NAMES]) + (f" and {more} more" if more > 0 else "")
