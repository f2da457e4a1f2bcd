"""Redis: queues and results on a server, 6.2 or later, or on Valkey."""

from asyncq.redis.client import RedisClient
from asyncq.redis.ledger import RedisLedger
from asyncq.redis.store import RedisStore
from asyncq.redis.transport import RedisTransport

__all__ = ["RedisClient", "RedisLedger", "RedisStore", "RedisTransport"]
