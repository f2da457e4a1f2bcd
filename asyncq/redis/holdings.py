"""The holdings: what a consumer holds by its own account, and how the server's comes to agree with it."""

from collections.abc import Iterable

from asyncq.redis.keys import KeySpace
from asyncq.redis.link import Link
from asyncq.redis.server import call

FIRST_CONNECTION = 1
"""There is nothing to reconcile after it: nothing was ever lent over an earlier one."""


class Holdings:
    """What one consumer holds.

    Each time that it asks for more has a number. One whose reply never came is given up by its number before the next:
    if it is still on its way to the server it is refused there. And whatever the server takes for lent that is not
    held here goes back: what was given in that reply, and what has ended already, if the server has lost the last
    moments (in a failover, say).

    Args:
        space: where it consumes.
        name: its own.
        link: over which it asks.
        reclaim: the script that takes back what it does not hold.

    Attributes:
        number: of the last time that it asked.
        has_unanswered: the reply to that has not come.
        queues: of which it has asked for something.
    """

    def __init__(self, space: KeySpace, name: str, link: Link, *, reclaim: str) -> None:
        self.number = 0
        self.has_unanswered = False
        self.queues: set[str] = set()
        self._space = space
        self._name = name
        self._link = link
        self._reclaim = reclaim
        self._held: dict[str, str] = {}
        self._reconciled = FIRST_CONNECTION

    @property
    def is_doubtful(self) -> bool:
        """Whether the server may think otherwise."""
        return self.has_unanswered or self._link.connections > self._reconciled

    def ask(self, queues: Iterable[str]) -> None:
        """Take note that messages of these queues are about to be asked for."""
        self.queues.update(queues)
        self.number += 1
        self.has_unanswered = True

    def answer(self) -> None:
        """Take note that the reply has come."""
        self.has_unanswered = False

    def hold(self, lent: Iterable[tuple[str, str]]) -> None:
        """Take note of what was lent, as tokens and queues."""
        self._held.update(lent)

    def drop(self, tokens: Iterable[str]) -> None:
        """Take note of what is not held any more."""
        for token in tokens:
            self._held.pop(token, None)

    async def reconcile(self, seconds: float) -> None:
        """Give up what was not answered, and let the server take back all that is not held here.

        Args:
            seconds: that each step may take.
        """
        held: dict[str, list[str]] = {queue: [] for queue in self.queues}
        for token, queue in self._held.items():
            held[queue].append(token)
        lowest, first = self.number + 1, 0
        places: dict[str, bytes] = dict.fromkeys(held, b"0")
        while places:
            calls = [
                call(self._reclaim, self._space.queue(queue), self._name, lowest, place, *held[queue])
                for queue, place in places.items()
            ]
            replies = await self._link.attempt(calls, wanted="fetch", seconds=seconds)
            first = first or self._link.connections
            places = {queue: place for queue, (_, place) in zip(places, replies, strict=True) if place != b"0"}
        self.has_unanswered = False
        self._reconciled = first or self._link.connections  # on another than the first, a step may have missed some
