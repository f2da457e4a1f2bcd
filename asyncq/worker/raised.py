"""What a function raised in another process, with what its task makes of it: decided there, where its class is."""

from typing import Literal

import msgspec

from asyncq.errors import Reject, Retry, Snooze
from asyncq.failure import Failure, failure_of, text_of, type_name_of
from asyncq.retry import RetryPolicy, leaves_of

_SIGNALS = (Reject, Snooze, Retry)

SignalName = Literal["", "Reject", "Snooze", "Retry"]


class Raised(msgspec.Struct, frozen=True, omit_defaults=True):
    """An exception as it crosses from a process of the pool to the worker.

    Attributes:
        kind: name of its class.
        failure: its record; that of the signal, where there is one in it.
        is_never: the task's policy names it among those that are never tried again.
        is_allowed: the policy tries again after it.
        signal: which of the three signals it is, or has in it.
        delay: of the signal, in seconds.
        reason: of the signal.
    """

    kind: str
    failure: Failure
    is_never: bool = False
    is_allowed: bool = False
    signal: SignalName = ""
    delay: float | None = None
    reason: str = ""


class RemoteError(Exception):
    """Stands in the worker for what a function raised in a process of the pool."""

    def __init__(self, raised: Raised) -> None:
        super().__init__(raised.failure.message)
        self.raised = raised
        if raised.failure.traceback:
            self.add_note(f"In the process of the task:\n{raised.failure.traceback.rstrip()}")


def raised_of(error: BaseException, policy: RetryPolicy | None) -> Raised:
    """Return what the worker needs to know of an exception."""
    signal = signal_in(error)
    return Raised(
        kind=type(signal or error).__name__,
        failure=failure_of(signal or error),
        is_never=is_never(error, policy),
        is_allowed=is_allowed(error, policy),
        signal=next((kind.__name__ for kind in _SIGNALS if isinstance(signal, kind)), ""),  # pyright: ignore[reportArgumentType] - they are the three
        delay=signal.delay if isinstance(signal, Retry | Snooze) else None,
        reason=text_of(signal.reason) if signal else "",
    )


def signal_in(error: BaseException) -> Reject | Snooze | Retry | None:
    """Return the signal among the leaves of what was raised; Reject goes before Snooze, and that before Retry."""
    if isinstance(error, RemoteError):
        return _signal_of(error.raised)
    leaves = leaves_of(error)
    for kind in _SIGNALS:
        for leaf in leaves:
            if isinstance(leaf, kind):
                return leaf
    return None


def is_never(error: BaseException, policy: RetryPolicy | None) -> bool:
    """Tell whether a policy names this exception, or one in its group, among those that are never tried again."""
    if isinstance(error, RemoteError):
        return error.raised.is_never
    return policy is not None and any(isinstance(leaf, policy.never) for leaf in leaves_of(error))


def is_allowed(error: BaseException, policy: RetryPolicy | None) -> bool:
    """Tell whether a policy tries again after this exception."""
    if isinstance(error, RemoteError):
        return error.raised.is_allowed
    return policy is not None and policy.allows(error)


def kind_of(error: BaseException) -> str:
    """Return the name of an exception's class."""
    return error.raised.kind if isinstance(error, RemoteError) else type(error).__name__


def type_name(error: BaseException) -> str:
    """Return `module:QualifiedName` of an exception's class."""
    return error.raised.failure.type if isinstance(error, RemoteError) else type_name_of(error)


def recorded(error: BaseException) -> Failure:
    """Return the record of an exception, made where it was raised."""
    return error.raised.failure if isinstance(error, RemoteError) else failure_of(error)


def _signal_of(raised: Raised) -> Reject | Snooze | Retry | None:
    match raised.signal:
        case "Reject":
            return Reject(raised.reason)
        case "Snooze":
            return Snooze(raised.delay or 0.0, raised.reason)
        case "Retry":
            return Retry(raised.delay, raised.reason)
        case "":
            return None
