"""The takeover: how memberships end, and how what their consumers held goes back to its place.

Plans, because a lease's thread and an event loop do the same: each step may be repeated, and may be left to somebody
else by whoever dies in between. The last one is to forget the consumer.
"""

from collections.abc import Generator, Sequence

from asyncq.redis.keys import KeySpace
from asyncq.redis.server import Command, Reply, call
from asyncq.transport import Departure, Member

INTERRUPT_MS = 60_000
"""How long a token waits for a consumer that is to wake and find that it is out."""


RECLAIM, LEDGER_RECLAIM = "reclaim", "ledger_reclaim"
"""Scripts that take back what a consumer holds: into its place in the line; for somebody to publish it again."""


def joining(space: KeySpace, name: str, lease_ms: int, queues: Sequence[str]) -> list[Command]:
    """Return the commands by which a consumer joins."""
    # First to be known as somebody who can be reclaimed, then to be let in: in between one may die.
    join = call("join", space.own, name, lease_ms, " ".join(queues))
    return [join, *(call("enter", space.queue(queue), name) for queue in queues)]


def reclaim_expired(
    space: KeySpace, spared: str, at_ms: int, *, reclaim: str = RECLAIM
) -> Generator[Sequence[Command], list[Reply], dict[str, int]]:
    """Take over from everybody whose lease had run out at that time. Returns the number of messages by name."""
    [condemned] = yield [call("condemn", space.own, spared, at_ms)]
    return (yield from end_memberships(space, [name.decode() for name in condemned], Departure.SILENT, reclaim=reclaim))


def release(
    space: KeySpace, bases: Sequence[str], *, reclaim: str = RECLAIM
) -> Generator[Sequence[Command], list[Reply], dict[str, int]]:
    """Take over from consumers of these names, or of these names and a number: `base.1`, `base.2`."""
    [everybody] = yield [("ZRANGE", space.own["workers"], 0, -1)]
    names = [name for name in map(bytes.decode, everybody) if _is_one_of(name, bases)]
    if names:
        yield [call("condemn_some", space.own, *names)]
    return (yield from end_memberships(space, names, Departure.DIED, reclaim=reclaim))


def end_memberships(
    space: KeySpace, names: Sequence[str], how: Departure, *, reclaim: str = RECLAIM
) -> Generator[Sequence[Command], list[Reply], dict[str, int]]:
    """End the memberships of consumers that `crashed` or `left`. Returns the number of messages by name."""
    if not names:
        return {}
    [found] = yield [("HMGET", space.own["queues_of"], *names)]
    pairs = [
        (name, queue) for name, queues in zip(names, found, strict=True) for queue in (queues or b"").decode().split()
    ]
    counts = dict.fromkeys(names, 0)
    replies = yield [call(reclaim, space.queue(queue), name, how) for name, queue in pairs]
    for (name, _), (count, _) in zip(pairs, replies, strict=True):
        counts[name] += count
    own = space.own
    wakes = [call("interrupt", own, name, INTERRUPT_MS) for name in names if how is not Departure.LEFT]
    yield [*wakes, ("ZREM", own["workers"], *names), ("HDEL", own["queues_of"], *names), ("HDEL", own["about"], *names)]
    return counts


def members(space: KeySpace) -> Generator[Sequence[Command], list[Reply], list[Member]]:
    """Look at the consumers."""
    own = space.own
    leases, queues_of, about = yield [
        ("ZRANGE", own["workers"], 0, -1, "WITHSCORES"),
        ("HGETALL", own["queues_of"]),
        ("HGETALL", own["about"]),
    ]
    queues = dict(zip(queues_of[::2], queues_of[1::2], strict=True))
    told = dict(zip(about[::2], about[1::2], strict=True))
    return sorted(
        # That of one who is being reclaimed ends at infinity.
        Member(
            name.decode(),
            queues.get(name, b"").decode().split(),
            0 if end_ms == b"inf" else int(end_ms),
            told.get(name, b""),
        )
        for name, end_ms in zip(leases[::2], leases[1::2], strict=True)
    )


def absolve(
    space: KeySpace, name: str, queues: Sequence[str], *, reclaim: str = RECLAIM
) -> Generator[Sequence[Command], list[Reply], None]:
    """Take back the crashes that were counted in the name of a reclaimed consumer in the queues that it consumed.

    Its reclaimer may still be at it. What that one has not come to yet is handed back unharmed, before the counts are
    looked at: from then on it finds nothing.
    """
    [end_ms] = yield [("ZSCORE", space.own["workers"], name)]
    if end_ms == b"inf":
        yield from end_memberships(space, [name], Departure.LEFT, reclaim=reclaim)
    places: dict[str, bytes] = dict.fromkeys(queues, b"0")
    while places:
        replies = yield [call("absolve", space.queue(queue), name, place) for queue, place in places.items()]
        places = {queue: place for queue, place in zip(places, replies, strict=True) if place != b"0"}


def _is_one_of(name: str, bases: Sequence[str]) -> bool:
    base, _, number = name.rpartition(".")
    return name in bases or (number.isdecimal() and base in bases)
