"""Sending: what is written to a connection that may have broken while nobody used it."""

from collections.abc import Sequence

from redis.exceptions import ConnectionError as RedisConnectionError

from asyncq.redis.server import Wire


async def send(wire: Wire, packed: Sequence[bytes]) -> None:
    """Write commands that are packed already. Raises redis.ConnectionError: the connection has broken."""
    try:
        await wire.send_packed_command(packed, check_health=False)
    except RuntimeError as error:
        # What uvloop says of a connection that was reset while nothing was read or written.
        if "handler is closed" not in str(error):
            raise
        raise RedisConnectionError("The connection was reset while it was idle.") from error
