"""A Redis and its replica: whether it follows, and who is the master."""

from redis.asyncio import Redis


async def in_step(master: Redis) -> bool:
    """Say whether the only replica follows."""
    info = await master.info("replication")
    return info["connected_slaves"] == 1 and info["slave0"]["state"] == "online"


async def has_followed(master: Redis) -> None:
    """Return once the only replica holds all that was written before."""
    async with master.client() as connection:
        await connection.set("written", "last", px=1)  # WAIT is for what its own connection wrote
        assert await connection.wait(1, 5_000) == 1


async def is_master(redis: Redis) -> bool:
    """Say whether it takes writes."""
    return (await redis.info("replication"))["role"] == "master"
