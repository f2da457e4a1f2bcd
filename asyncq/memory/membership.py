"""The membership of one consumer, and its lease."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from asyncq.memory import line
from asyncq.memory.state import MemoryState
from asyncq.transport import Departure, Lease, Member


class Memberships(Protocol):
    """Where consumers are members: a transport's space, or a ledger's book. Used under the state's lock."""

    @property
    def members(self) -> dict[str, line.Member]:
        """The consumers, by name."""
        ...

    def absolve(self, name: str) -> None:
        """Take back the crashes that were counted when this consumer was taken for dead."""
        ...

    def dismiss(self, member: line.Member, *, how: Departure) -> int:
        """End a membership, and hand back what it held. Returns how many messages."""
        ...


class MemoryMembership:
    """What consumers and holders have in common, in the hands of the loop on which they joined."""

    def __init__(self, state: MemoryState, memberships: Memberships, member: line.Member) -> None:
        self.name = member.name
        self._state = state
        self._memberships = memberships
        self._member = member

    async def run(self, severed: Callable[[Sequence[str]], None]) -> None:
        """Tell what is severed until cancelled."""
        while True:
            await self._member.severing.wait(None)
            with self._state.lock:
                self._member.severing.clear()
                tokens, self._member.severed = self._member.severed, []
            severed(tokens)

    async def absolve(self) -> None:
        """Take back the crashes that were counted in its name."""
        with self._state.lock:
            self._memberships.absolve(self.name)

    def lease(self) -> Lease:
        """Return its lease."""
        return MemoryLease(self._state, self._memberships, self._member)

    async def leave(self) -> int:
        """End it."""
        with self._state.lock:
            return self._memberships.dismiss(self._member, how=Departure.LEFT)


class MemoryLease(Lease):
    """A member's lease."""

    def __init__(self, state: MemoryState, memberships: Memberships, member: line.Member) -> None:
        self._state = state
        self._memberships = memberships
        self._member = member

    def renew(self, about: bytes | None = None) -> bool:
        with self._state.lock:
            if about is not None:
                self._member.about = about
            self._member.ends_ms = self._state.now_ms() + self._member.lease_ms
            return self._member.name in self._memberships.members

    def next_end(self) -> float | None:
        with self._state.lock:
            ends = [member.ends_ms for member in self._others()]
            return (min(ends) - self._state.now_ms()) / 1000 if ends else None

    def reclaim(self) -> Mapping[str, int]:
        with self._state.lock:
            now_ms = self._state.now_ms()
            expired = [member for member in self._others() if member.ends_ms <= now_ms]
            return {member.name: self._memberships.dismiss(member, how=Departure.SILENT) for member in expired}

    def close(self) -> None:
        """Do nothing: the thread was given nothing of its own."""

    def _others(self) -> list[line.Member]:
        return [member for member in self._memberships.members.values() if member is not self._member]


def release(memberships: Memberships, names: Sequence[str]) -> int:
    """Take over at once what consumers hold that are known to be dead."""
    dead = [member for member in memberships.members.values() if _is_one_of(member.name, names)]
    return sum(memberships.dismiss(member, how=Departure.DIED) for member in dead)


def seen(members: Iterable[line.Member]) -> list[Member]:
    """Return consumers as everybody may see them, by name."""
    by_name = sorted(members, key=lambda member: member.name)
    return [Member(member.name, member.queues, member.ends_ms, member.about) for member in by_name]


def _is_one_of(name: str, bases: Sequence[str]) -> bool:
    """Say whether a consumer is one of these, or what one of them goes on as after a lost lease: `base.1`, `base.2`."""
    base, _, number = name.rpartition(".")
    return name in bases or (number.isdecimal() and base in bases)
