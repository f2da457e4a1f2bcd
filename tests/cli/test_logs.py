"""Log lines for people and for programs."""

import json
import logging
import os
import re
from uuid import UUID

from asyncq.cli.logs import JsonFormatter, TextFormatter


def record(message: str, *arguments: object, **extra: object) -> logging.LogRecord:
    return logging.getLogger("asyncq.worker").makeRecord(
        "asyncq.worker", logging.INFO, __file__, 1, message, arguments, None, extra=extra
    )


def with_exception(made: logging.LogRecord) -> logging.LogRecord:
    try:
        raise ValueError("too late")
    except ValueError as error:
        made.exc_info = (ValueError, error, error.__traceback__)
    return made


def test_text() -> None:
    """A line for people has time with milliseconds, level, logger and message."""
    line = TextFormatter().format(record("Took %d s.", 3))

    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} INFO asyncq\.worker: Took 3 s\.", line)


def test_json() -> None:
    """A line for programs is one JSON object with the message and everything that was given as extra."""
    line = JsonFormatter().format(record("Failed.", task_id="id-1", task="mail.send", queue="mail", attempt=2))

    found = json.loads(line)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", found.pop("time"))
    assert found == {
        "level": "INFO",
        "logger": "asyncq.worker",
        "pid": os.getpid(),
        "message": "Failed.",
        "task_id": "id-1",
        "task": "mail.send",
        "queue": "mail",
        "attempt": 2,
    }


def test_json_exception() -> None:
    """The traceback stands in the same object, on the same line."""
    line = JsonFormatter().format(with_exception(record("Failed.")))

    assert "\n" not in line
    assert json.loads(line)["exception"].endswith("ValueError: too late")


def test_json_takes_anything() -> None:
    """What JSON cannot hold is written as its text, and never costs the line."""
    line = JsonFormatter().format(record("%s", "\ud800", where={1: UUID(int=0)}, what=object))

    assert json.loads(line)["where"] == {"1": str(UUID(int=0))}
