"""The office of limits on Redis."""

from collections.abc import Mapping, Sequence

from asyncq.limits import Asked, Kind, LimitId, LimitOffice, LimitState, Numbers
from asyncq.redis.client import RedisClient
from asyncq.redis.keys import KeySpace
from asyncq.redis.server import Argument, Command, call

CALL_MARGIN = 5.0
"""Seconds that a wait to be called may take longer, until its connection counts as dead."""


class RedisLimits(LimitOffice):
    """Limits of one namespace.

    Args:
        client: the transport's.
        space: its keys.
    """

    def __init__(self, client: RedisClient, space: KeySpace) -> None:
        self._client = client
        self._space = space

    async def declare(self, numbers: Mapping[LimitId, Numbers], *, is_consumer: bool = True) -> None:
        arguments: list[Argument] = []
        for id, each in numbers.items():
            arguments += (id.text, "declared" if is_consumer else "missing", _packed(each))
        await self._client.commands.call([call("limits_declare", self._space.own, *arguments)], wanted="declare limits")

    async def change(self, id: LimitId, numbers: Numbers | None) -> None:
        packed = "" if numbers is None else _packed(numbers)
        command = call("limits_declare", self._space.own, id.text, "changed", packed)
        await self._client.commands.call([command], wanted="change a limit")

    async def pause(self, id: LimitId, key: str | None, ms: int) -> None:
        command = call("limits_pause", self._space.own, id.text, "" if key is None else f" {key}", ms)
        await self._client.commands.call([command], wanted="pause a limit")

    async def states(self) -> Sequence[LimitState]:
        [found] = await self._client.commands.call([("HGETALL", self._space.own["limits"])], wanted="look at limits")
        declared: dict[LimitId, Numbers] = {}
        changed: dict[LimitId, Numbers] = {}
        for field, packed in zip(found[::2], found[1::2], strict=True):
            what, kind, name = field.decode().split(" ", 2)
            numbers = Numbers(*map(int, packed.split()))
            (declared if what == "declared" else changed)[LimitId(Kind(kind), name)] = numbers
        ids = sorted({*declared, *changed})
        if not ids:
            return []
        keys = [self._space.own["paused"] + id.text for id in ids]
        [pauses] = await self._client.commands.call([("MGET", *keys)], wanted="look at limits")
        return [
            LimitState(id, declared.get(id), changed.get(id), int(until_ms or 0))
            for id, until_ms in zip(ids, pauses, strict=True)
        ]

    async def ask(self, id: LimitId, key: str, weight: int, waiter: str, lease_ms: int) -> Asked:
        size = weight if id.kind is Kind.RATE else 0
        command = call("limits_ask", self._space.own, f"{id.text} {key}", id.text, size, waiter, lease_ms)
        [(is_granted, wait_ms)] = await self._client.commands.call([command], wanted="ask for a turn")
        return Asked(bool(is_granted), wait_ms)

    async def called(self, waiter: str, seconds: float) -> None:
        link = self._client.link()
        try:
            command = ("BLPOP", self._space.own["call"] + waiter, f"{max(0.001, seconds):.3f}")
            await link.attempt([command], wanted="wait for a turn", seconds=seconds + CALL_MARGIN, waits=True)
        finally:
            await self._client.close_link(link)

    async def renew(self, id: LimitId, key: str, waiter: str, lease_ms: int) -> bool:
        command = call("limits_renew", self._space.own, f"{id.text} {key}", waiter, lease_ms)
        [is_held] = await self._client.commands.call([command], wanted="renew a slot")
        return bool(is_held)

    async def leave(self, id: LimitId, key: str, waiter: str) -> bool | None:
        command = call("limits_leave", self._space.own, f"{id.text} {key}", waiter)
        is_repeated = False

        def again() -> Sequence[Command]:
            nonlocal is_repeated
            is_repeated = True
            return [command]

        [was_there] = await self._client.commands.call([command], wanted="give a turn back", again=again)
        return True if was_there else None if is_repeated else False


def _packed(numbers: Numbers) -> str:
    return f"{numbers.limit} {numbers.per_ms} {numbers.burst}"
