"""A waiter: waits for the calls of all producers, which it learns of from their journals, and publishes none.

Usage: python -m tests.chaos.waiter NAME COUNT PRODUCER...
"""

import asyncio
import sys

from tests.chaos import app
from tests.chaos.journal import Journal, JournalReader
from tests.chaos.watching import Watching, opened

PAUSE = 0.1


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
                        group.create_task(watching.see(entry["id"]))
                        left -= 1
            await asyncio.sleep(PAUSE)  # between two looks


if __name__ == "__main__":
    asyncio.run(main())
