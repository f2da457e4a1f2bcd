"""The quiet: what aiormq logs of connections that are ours is not shown, for asyncq says what of it matters.

aiormq warns of each lost connection with a traceback, whether or not somebody has replaced it already. Connections that
others have through it in the same process are logged as ever; and ours, too, where these loggers are set to DEBUG.
"""

import logging
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar

LOGGERS = ("aiormq.connection", "aiormq.channel")

_is_ours: ContextVar[bool] = ContextVar("asyncq_rabbitmq_is_ours", default=False)


class _Hush(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        return not _is_ours.get() or logging.getLogger(record.name).isEnabledFor(logging.DEBUG)


_hush = _Hush()


@contextmanager
def quiet() -> Generator[None]:
    """Show nothing that aiormq logs in this block, nor in the tasks and callbacks that it starts there."""
    for name in LOGGERS:
        logging.getLogger(name).addFilter(_hush)  # once, however often it is added
    token = _is_ours.set(True)
    try:
        yield
    finally:
        _is_ours.reset(token)
