"""The journal: what processes that may be killed at any moment write down, and what is read of it."""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

Entry: TypeAlias = dict[str, Any]
"""One line: `at` (seconds of the machine's monotonic clock), `what` was seen, and its facts."""


class Journal:
    """Appends to a file that many processes share: each entry is one write, whole whoever is killed."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY)

    def write(self, what: str, **facts: object) -> None:
        """Note something that has just happened."""
        line = json.dumps({"at": time.monotonic(), "what": what, **facts}) + "\n"
        os.write(self._file, line.encode())


class JournalReader:
    """Reads a file of entries from where it stopped the last time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0

    def read(self) -> Iterator[Entry]:
        """Yield the entries that are new; one that is just being written comes the next time."""
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._offset)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                self._offset += len(line)
                yield json.loads(line)
