"""The aftermath: what is called when a call has failed for good."""

import logging
from collections.abc import Sequence
from dataclasses import replace

import msgspec

from asyncq.context import log_facts
from asyncq.failure import Failure
from asyncq.message import Message, encode_message
from asyncq.result import instant
from asyncq.tasks import FailedCall, FailureHandler
from asyncq.transport import Envelope
from asyncq.worker.run import Run

logger = logging.getLogger("asyncq.worker")


def follow_ups(
    run: Run, failure: Failure, reason: str, *, attempts: int, worker: str, now_ms: int
) -> Sequence[Envelope]:
    """Return the call of the task's `on_failure`, if it has one; a handler's own failure is not told to itself.

    What is wrong with it is logged: it must not keep the call from ending.
    """
    handler = run.task.declared.on_failure
    if handler is None or handler.name == run.task.name:
        return ()
    try:
        message = _message(handler, _failed_call(run, failure, reason, attempts, worker, now_ms))
        message = msgspec.structs.replace(message, reply="")  # nobody here waits for it
        return [Envelope(message.id, message.queue, encode_message(message), message.priority, message.due_ms)]
    except Exception:  # its converters are the user's
        logger.exception("on_failure of %s cannot be called.", run.task.name, extra=log_facts(run.message))
        return ()


def _message(handler: FailureHandler, call: FailedCall) -> Message:
    try:
        return handler.message(call)
    except TypeError:  # another producer has sent what asyncq would not: that it failed is worth more than with what
        return handler.message(replace(call, args=[], kwargs={}, labels={}))


def _failed_call(run: Run, failure: Failure, reason: str, attempts: int, worker: str, now_ms: int) -> FailedCall:
    message = run.message
    return FailedCall(
        id=message.id,
        task=message.task,
        queue=message.queue,
        args=message.args,
        kwargs=message.kwargs,
        labels=message.labels,
        reason=reason,
        error_type=failure.type,
        error_message=failure.message,
        traceback=failure.traceback,
        attempts=attempts,
        enqueued_at=instant(message.enqueued_ms),
        failed_at=instant(now_ms),
        worker=worker,
    )
