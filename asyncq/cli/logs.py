"""Log lines, for people and for programs."""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any

_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}
"""What every record has; the rest is what the caller gave as `extra`."""


class TextFormatter(logging.Formatter):
    """`2026-11-21 08:00:00.123 INFO asyncq.worker: Message`, in local time."""

    default_msec_format = "%s.%03d"

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (UTC), level, logger, process, message, exception, and what was given as `extra`."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line. A value that JSON cannot hold is written as its text."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "pid": record.process,
            "message": record.getMessage(),
        }
        line.update((name, value) for name, value in record.__dict__.items() if name not in _STANDARD)
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            line["stack"] = self.formatStack(record.stack_info)
        # Not orjson, which is strict where a log line must not be lost: half a surrogate pair, say.
        return json.dumps(line, default=str, skipkeys=True)


def set_up_logging(level: str, log_format: str) -> None:
    """Send the logs of this process to stderr. For a process of our own only: it takes over the root logger.

    Before the application is imported, so that a `logging.config` of its own has the last word.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
