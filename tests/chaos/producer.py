"""A producer: publishes its share of the calls at a steady pace, cancels and moves some, and waits for all of them.

It may be killed at any moment and started again: it goes on from its journal.

Usage: python -m tests.chaos.producer NAME SEED COUNT SHARE SHARES BEGIN SECONDS
"""

import asyncio
import signal
import sys
import time
from collections.abc import Sequence
from random import Random

from tests.chaos import app
from tests.chaos.calls import AGAIN, CANCELLED, Call, Kind, calls_of, kinds_for
from tests.chaos.journal import Journal, JournalReader
from tests.chaos.watching import Watching, opened, publish_patiently

LARGEST_BURST = 60
STOPPED = 3
"""Exit code after SIGTERM: it has not finished, and is to be started again."""


class Producer:
    """What one producer does.

    Args:
        name: of its journal.
        calls: its share.
        begin, seconds: when the first is to be published, by the machine's monotonic clock, and for how long.
    """

    def __init__(self, name: str, calls: Sequence[Call], begin: float, seconds: float) -> None:
        self._calls = calls
        self._begin = begin
        self._seconds = seconds
        path = app.FOLDER / name
        done = list(JournalReader(path).read())
        self._accepted = {entry["id"]: entry["owner"] for entry in done if entry["what"] == "accepted"}
        self._asked = {entry["id"] for entry in done if entry["what"] in ("cancelled", "moved")}
        self._seen = {entry["id"] for entry in done if entry["what"] == "seen"}
        self._journal = Journal(path)
        self._watching = Watching(app.broker, self._journal, is_late=app.STORE is not None)
        self._random = Random()

    async def run(self) -> None:
        """Publish, cancel, move and wait until nothing is left to do."""
        async with opened(app.broker), asyncio.TaskGroup() as group:
            for call in self._calls:
                if call.id in self._accepted:
                    self._follow(call, group)
            left = [call for call in self._calls if call.id not in self._accepted]
            while left:
                burst, left = self._split(left)
                await self._publish(burst)
                for call in burst:
                    self._follow(call, group)

    def _split(self, left: list[Call]) -> tuple[list[Call], list[Call]]:
        size = self._random.randint(1, LARGEST_BURST)
        return left[:size], left[size:]

    async def _publish(self, burst: Sequence[Call]) -> None:
        """Publish some, again and again until all of them are confirmed."""
        published = self._calls.index(burst[-1]) + 1
        due = self._begin + self._seconds * published / len(self._calls)
        await asyncio.sleep(max(0, due - time.monotonic()))  # the plan says when
        handles, since = await publish_patiently(app.broker, [app.message_of(call) for call in burst])
        for call, handle in zip(burst, handles, strict=True):
            self._accepted[call.id] = handle.id
            self._journal.write("accepted", id=call.id, owner=handle.id, since=since)

    def _follow(self, call: Call, group: asyncio.TaskGroup) -> None:
        if self._accepted[call.id] != call.id:  # another has its key, and is followed
            return
        if call.kind in CANCELLED and call.id not in self._asked:
            group.create_task(self._cancel(call))
        if call.kind is Kind.MOVED and call.id not in self._asked:
            group.create_task(self._move(call))
        if call.id not in self._seen:
            group.create_task(self._watching.see(call.id))

    async def _cancel(self, call: Call) -> None:
        await asyncio.sleep(call.patience)  # the plan says when
        self._journal.write("cancelling", id=call.id)
        took_effect = await self._watching.ask(call.id, app.broker.handle(call.id).cancel)
        if took_effect is not None:
            self._journal.write("cancelled", id=call.id, took_effect=took_effect)

    async def _move(self, call: Call) -> None:
        await asyncio.sleep(call.patience)  # the plan says when
        handle = app.broker.handle(call.id)

        async def move() -> tuple[bool, float]:
            since = time.monotonic()
            return await handle.reschedule(delay=AGAIN), since

        answer = await self._watching.ask(call.id, move)
        if answer is not None:
            self._journal.write("moved", id=call.id, took_effect=answer[0], since=answer[1])


async def main() -> None:
    """Run until all is done; SIGTERM ends it in order, before that."""
    name, seed, count, share, shares, begin, seconds = sys.argv[1:]
    calls = calls_of(int(seed), int(count), kinds_for(app.broker.capabilities))[int(share) :: int(shares)]
    running = asyncio.create_task(Producer(name, calls, float(begin), float(seconds)).run())
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
    try:
        await running
    except asyncio.CancelledError:
        sys.exit(STOPPED)


if __name__ == "__main__":
    asyncio.run(main())
