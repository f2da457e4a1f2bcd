"""What users declare and hold: tasks, the options of a call, and handles to calls."""

from asyncq.tasks.failed import FailedCall, FailureHandler
from asyncq.tasks.handle import Event, Handle
from asyncq.tasks.options import CallOptions, TaskOptions
from asyncq.tasks.task import AsyncTask, SyncTask, Task
from asyncq.tasks.unique import Unique

__all__ = [
    "AsyncTask",
    "CallOptions",
    "Event",
    "FailedCall",
    "FailureHandler",
    "Handle",
    "SyncTask",
    "Task",
    "TaskOptions",
    "Unique",
]
