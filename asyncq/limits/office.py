"""The office: where limits are declared and changed, and where code outside of tasks asks for its turn."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from asyncq.limits.numbers import LimitId, Numbers


class LimitState(NamedTuple):
    """How a limit stands.

    Attributes:
        id: kind and name.
        declared: by the latest worker, or code, that has said.
        changed: at run time, which holds until it is reset; None: it was not.
        paused_ms: until when the whole limit is paused; 0: it is not.
    """

    id: LimitId
    declared: Numbers | None
    changed: Numbers | None
    paused_ms: int = 0


class Asked(NamedTuple):
    """What came of asking for a turn.

    Attributes:
        is_granted: it is there.
        wait_ms: after so long it is worth asking again, even if nobody has called; meaningless when granted.
    """

    is_granted: bool
    wait_ms: int


class LimitOffice(ABC):
    """Limits, for everybody but the calls of tasks: those are granted in the step that lends them."""

    @abstractmethod
    async def declare(self, numbers: Mapping[LimitId, Numbers], *, is_consumer: bool = True) -> None:
        """Say what limits allow; the latest to say so is right. What was changed at run time goes before it.

        Args:
            numbers: of each limit.
            is_consumer: False: of a limit of which something was said, nothing changes. Who only publishes may be of an
                earlier version than those who run.
        """

    @abstractmethod
    async def change(self, id: LimitId, numbers: Numbers | None) -> None:
        """Let other numbers hold for everybody, at once; None: those that are declared."""

    @abstractmethod
    async def pause(self, id: LimitId, key: str | None, ms: int) -> None:
        """Grant nothing of a rate limit for so long, of one key or (None) of all.

        A shorter pause does not shorten a longer one; 0 ends it.
        """

    @abstractmethod
    async def states(self) -> Sequence[LimitState]:
        """Return all limits that are known, by kind and name."""

    @abstractmethod
    async def ask(self, id: LimitId, key: str, weight: int, waiter: str, lease_ms: int) -> Asked:
        """Ask for a turn or a slot, and stand in line for it.

        First come, first served among waiters. Who does not ask again for `lease_ms` has left the line.

        Args:
            id: the limit, which has been declared.
            key: which of its counts.
            weight: how many grants it counts for.
            waiter: a name that nobody else has; it holds the slot when it is granted one.
            lease_ms: for how long a place in line, or a slot, is kept without being renewed.
        """

    @abstractmethod
    async def called(self, waiter: str, seconds: float) -> None:
        """Wait until whoever was told to wait may be granted its turn, or for so long. Ask again then."""

    @abstractmethod
    async def renew(self, id: LimitId, key: str, waiter: str, lease_ms: int) -> bool:
        """Go on holding a slot. False: it was lost, and may be somebody else's."""

    @abstractmethod
    async def leave(self, id: LimitId, key: str, waiter: str) -> bool | None:
        """Give a slot back, or leave the line.

        Returns whether there was something to give back, or a place; None: there is nothing now, and may have been, for
        the reply to an earlier try was lost.
        """
