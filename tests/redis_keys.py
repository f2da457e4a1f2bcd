"""What a test left behind in Redis."""

from collections.abc import Collection
from fnmatch import fnmatchcase

from redis.asyncio import Redis

NO_TTL = -1


async def assert_no_keys_left(url: str, namespace: str, *, allowed: Collection[str] = ()) -> None:
    """Fail if a key that holds the namespace in its name has no TTL.

    Args:
        url: the server.
        namespace: the test's.
        allowed: patterns (fnmatch) of the keys that are documented to stay; `{namespace}` in them is replaced.
    """
    patterns = [pattern.replace("{namespace}", namespace) for pattern in allowed]
    async with Redis.from_url(url, decode_responses=True) as redis:
        keys = [key async for key in redis.scan_iter(match=f"*{namespace}*", count=1000)]
        left = [
            f"{key} ({await redis.type(key)})"
            for key in sorted(keys)
            if await redis.ttl(key) == NO_TTL and not any(fnmatchcase(key, pattern) for pattern in patterns)
        ]
    assert not left, f"These keys have no TTL and are not documented to stay: {', '.join(left)}"
