"""asyncq: an asyncio-native distributed task queue.

    from asyncq import SQLiteBroker

    broker = SQLiteBroker("asyncq.db")

    @broker.task
    async def add(a: int, b: int) -> int:
        return a + b

    handle = await add.kiq(1, 2)  # publish; `asyncq worker app:broker` runs it
    value = await handle

Importing this package loads no client library: a broker's is loaded when that broker is first named.
"""

from typing import TYPE_CHECKING, Any

from asyncq.broker import Broker
from asyncq.broker.dead import DeadLetters, Retried
from asyncq.broker.inspection import QueueCounts, WorkerInfo
from asyncq.broker.kinds import KINDS, broker_class, broker_from_url
from asyncq.broker.letter import DeadLetter
from asyncq.broker.schedules import ScheduleInfo, Schedules
from asyncq.broker.uniqueness import UniqueOwner
from asyncq.context import Context, Depends, current_context
from asyncq.errors import (
    AsyncqError,
    BrokerError,
    BrokerUnavailable,
    ConfigurationError,
    DecodeError,
    DuplicateId,
    DuplicateTask,
    LeaseLost,
    LimitExceeded,
    MessageError,
    MissingExtra,
    NotSupported,
    PublishError,
    PublishRefused,
    Reject,
    ResultError,
    ResultMissing,
    ResultTimeout,
    Retry,
    ScheduleError,
    Snooze,
    TaskCancelled,
    TaskExpired,
    TaskFailed,
    TaskTimeout,
    UnknownTask,
)
from asyncq.findings import Finding, Severity
from asyncq.limits import ConcurrencyLimit, RateLimit
from asyncq.message import Message
from asyncq.queues import Queue
from asyncq.result import Attempt, Progress, Result, Status
from asyncq.retry import RetryPolicy
from asyncq.scheduler import Scheduler
from asyncq.schedules import At, Cron, Every, Schedule
from asyncq.tasks import AsyncTask, Event, FailedCall, Handle, SyncTask, Task, TaskOptions, Unique
from asyncq.worker import Worker

if TYPE_CHECKING:  # for editors and type checkers only: at run time `__getattr__` imports them when they are named
    from asyncq.broker.memory import MemoryBroker
    from asyncq.broker.rabbitmq import RabbitMQBroker
    from asyncq.broker.redis import RedisBroker
    from asyncq.broker.sqlite import SQLiteBroker

__version__ = "0.1.0"

__all__ = [
    "AsyncTask",
    "AsyncqError",
    "At",
    "Attempt",
    "Broker",
    "BrokerError",
    "BrokerUnavailable",
    "ConcurrencyLimit",
    "ConfigurationError",
    "Context",
    "Cron",
    "DeadLetter",
    "DeadLetters",
    "DecodeError",
    "Depends",
    "DuplicateId",
    "DuplicateTask",
    "Event",
    "Every",
    "FailedCall",
    "Finding",
    "Handle",
    "LeaseLost",
    "LimitExceeded",
    "MemoryBroker",
    "Message",
    "MessageError",
    "MissingExtra",
    "NotSupported",
    "Progress",
    "PublishError",
    "PublishRefused",
    "Queue",
    "QueueCounts",
    "RabbitMQBroker",
    "RateLimit",
    "RedisBroker",
    "Reject",
    "Result",
    "ResultError",
    "ResultMissing",
    "ResultTimeout",
    "Retried",
    "Retry",
    "RetryPolicy",
    "SQLiteBroker",
    "Schedule",
    "ScheduleError",
    "ScheduleInfo",
    "Scheduler",
    "Schedules",
    "Severity",
    "Snooze",
    "Status",
    "SyncTask",
    "Task",
    "TaskCancelled",
    "TaskExpired",
    "TaskFailed",
    "TaskOptions",
    "TaskTimeout",
    "Unique",
    "UniqueOwner",
    "UnknownTask",
    "Worker",
    "WorkerInfo",
    "broker_from_url",
    "current_context",
]


def __getattr__(name: str) -> Any:
    if name in KINDS:
        return broker_class(name)
    raise AttributeError(f"module 'asyncq' has no attribute {name!r}")
