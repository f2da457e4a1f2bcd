"""The cancelling: what aiormq makes of it, told apart from what a task was really told."""

import asyncio
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def cancellable() -> Generator[None]:
    """Raise CancelledError at the end of a block whose task was cancelled meanwhile, if aiormq has swallowed that.

    It does so in whoever closes a channel: a task that opens one after the other would never end.
    """
    task = asyncio.current_task()
    before = task.cancelling() if task is not None else 0
    try:
        yield
    except asyncio.CancelledError:
        raise
    except BaseException as error:
        if task is not None and task.cancelling() > before:
            raise asyncio.CancelledError from error
        raise
    if task is not None and task.cancelling() > before:
        raise asyncio.CancelledError


def is_foreign_cancellation(error: BaseException) -> bool:
    """Say whether aiormq raises CancelledError in somebody who was not cancelled: its way to say that it has closed."""
    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and task is not None and not task.cancelling()
