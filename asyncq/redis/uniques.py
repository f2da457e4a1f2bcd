"""The unique keys, as they are listed and cleared."""

from collections.abc import Sequence

from asyncq.redis.client import RedisClient
from asyncq.redis.keys import KeySpace
from asyncq.redis.server import call
from asyncq.transport import KeyOwner

SCANNED_AT_ONCE = 1_000
"""Keys of the server that one step of a listing looks at: a listing goes through all that there are."""

_PATTERN = str.maketrans({character: f"\\{character}" for character in "*?[]^-\\"})


async def unique_keys(client: RedisClient, space: KeySpace, prefix: str, limit: int) -> Sequence[KeyOwner]:
    """Return the keys that are taken and begin like this, in alphabetical order, at most so many."""
    begin = space.own["unique"]
    pattern = f"{(begin + prefix).translate(_PATTERN)}*"
    found: dict[str, KeyOwner] = {}
    cursor = b"0"
    while len(found) < limit:
        step = ("SCAN", cursor, "MATCH", pattern, "COUNT", SCANNED_AT_ONCE)
        [(cursor, names)] = await client.commands.call([step], wanted="list unique keys")
        if names:
            [owners] = await client.commands.call([call("unique_keys", space.own, *names)], wanted="list unique keys")
            for name, value, ends_ms in owners:
                owner = _owner(name.decode().removeprefix(begin), value, ends_ms)
                found[owner.key] = owner
        if cursor == b"0":
            break
    return [found[key] for key in sorted(found)][:limit]


async def clear_unique(client: RedisClient, space: KeySpace, key: str) -> bool:
    """Free a key; return whether it was taken."""
    [was_taken] = await client.commands.call([call("clear_unique", space.own, key)], wanted="clear a unique key")
    return bool(was_taken)


def _owner(key: str, value: bytes, ends_ms: int) -> KeyOwner:
    head, _, id = value.decode().partition("\n")
    taken_ms, _, queue = head.partition(" ")
    return KeyOwner(key, id, queue, int(taken_ms), ends_ms)
