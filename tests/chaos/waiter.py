"""A waiter: waits for the calls of all producers, which it learns of from their journals, and publishes none.

Usage: python -m tests.chaos.waiter NAME COUNT PRODUCER...
"""

import asyncio
import sys
import time

from tests.chaos import app
from tests.chaos.journal import Entry, Journal, JournalReader
from tests.chaos.ticks import NAME as TICKS
from tests.chaos.watching import Watching, opened

PAUSE = 0.1
LATE = 60.0
"""Seconds by which a tick may be published late."""


async def main() -> None:
    """Run until so many calls were seen to end."""
    name, count, *producers = sys.argv[1:]
    path = app.FOLDER / name
    known = {entry["id"] for entry in JournalReader(path).read() if entry["what"] == "seen"}
    left = int(count) - len(known)
    readers = [JournalReader(app.FOLDER / producer) for producer in producers]
    watching = Watching(app.broker, Journal(path), is_late=app.STORE is not None)
    async with opened(app.broker), asyncio.TaskGroup() as group:
        while left:
            for reader in readers:
                for entry in reader.read():
                    if entry["what"] == "accepted" and entry["id"] not in known:
                        known.add(entry["id"])
                        group.create_task(follow(watching, entry))
                        left -= 1
            await asyncio.sleep(PAUSE)  # between two looks


async def follow(watching: Watching, entry: Entry) -> None:
    """Wait for a call, and for a tick from when it is due; nobody waits for one whose key another has."""
    if entry["owner"] != entry["id"]:
        return
    await asyncio.sleep(entry["at"] - time.monotonic())  # until its tick
    await watching.see(entry["id"], wait_for_publish=LATE if entry["id"].startswith(TICKS) else 0)


if __name__ == "__main__":
    asyncio.run(main())
