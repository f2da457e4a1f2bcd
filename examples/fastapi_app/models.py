"""What goes in and out of the service, beside files and reports."""

from dataclasses import dataclass
from typing import Generic, TypeVar

from pydantic import BaseModel, Field

from asyncq import Event, Handle, Progress, Status

R = TypeVar("R")


class CallState(BaseModel, Generic[R]):
    """How a call stands.

    Attributes:
        result: what the task returned, once it has succeeded.
        error: what it raised, once it has failed.
        attempts: how many were used, once it has ended.
    """

    id: str
    status: Status
    progress: Progress | None = None
    result: R | None = None
    error: str | None = None
    attempts: int | None = None


@dataclass(frozen=True, slots=True)
class Accepted:
    """Work was handed over. Ask for it at `url`; None: calls are not remembered here, and nobody can."""

    id: str
    url: str | None


class Text(BaseModel):
    """A text to count the words of; `pause` makes the work last that many seconds longer."""

    text: str = Field(min_length=1, max_length=100_000)
    pause: float = Field(default=0, ge=0, le=30)


class Order(BaseModel):
    """An order to deliver to a partner that is down for the first `outages` attempts."""

    order: int = Field(ge=1)
    outages: int = Field(default=2, ge=0, le=10)


class Reminder(BaseModel):
    """A text to be reminded of in so many seconds."""

    text: str = Field(min_length=1, max_length=1000)
    seconds: float = Field(gt=0, le=30 * 24 * 3600)


class Batch(BaseModel):
    """The square numbers below `count`, each computed by a task of its own."""

    count: int = Field(ge=1, le=10_000)


@dataclass(frozen=True, slots=True)
class Squares:
    """What a batch gave, and the seconds it took to publish its tasks and to have all results."""

    squares: list[int]
    published_in: float
    finished_in: float


def state_of(handle: Handle[R], event: Event[R]) -> CallState[R]:
    """Return how a call stands, as it is told."""
    result = event.result
    if result is None:
        return CallState(id=handle.id, status=event.status, progress=event.progress)
    error = f"{type(result.error).__name__}: {result.error}" if result.error else None
    return CallState(
        id=handle.id,
        status=event.status,
        progress=event.progress,
        result=result.value,
        error=error,
        attempts=result.attempts,
    )
