"""The plain ladder of delays: a queue for each power of two, which every message passes from the highest to the lowest.

What is known of delays on RabbitMQ without a plugin, and what asyncq's ladder is measured beside. Its queues keep what
is due while the server starts, as asyncq's do: the default kind of dead lettering would lose it.
"""

from typing import Final

from aiormq.abc import AbstractChannel

LOWEST, HIGHEST = 4, 14
"""16 ms to 16 s; all together 33 s."""

EXCHANGE: Final = "ladder"
"""And its level: a topic exchange and a queue."""

TOP: Final = f"{EXCHANGE}.{HIGHEST}"


async def declare(channel: AbstractChannel, queue: str) -> None:
    """Declare it, with what is due going to a queue."""
    await channel.exchange_declare(EXCHANGE, exchange_type="fanout", durable=True)
    await channel.queue_bind(queue, EXCHANGE)
    below = EXCHANGE
    for level in range(LOWEST, HIGHEST + 1):
        name = f"{EXCHANGE}.{level}"
        await channel.exchange_declare(name, exchange_type="topic", durable=True)
        arguments = {
            "x-queue-type": "quorum",
            "x-message-ttl": 1 << level,
            "x-dead-letter-exchange": below,
            "x-dead-letter-strategy": "at-least-once",
            "x-overflow": "reject-publish",
        }
        await channel.queue_declare(name, durable=True, arguments=arguments)
        passed = "*." * (HIGHEST - level)
        await channel.queue_bind(name, name, f"{passed}1.#")
        await channel.exchange_bind(below, name, f"{passed}0.#")
        below = name


def key(delay: float) -> str:
    """Return the routing key for a delay in seconds, rounded up to 16 ms."""
    steps = -(-round(delay * 1_000) // (1 << LOWEST))
    return ".".join(f"{max(steps, 1):0{HIGHEST - LOWEST + 1}b}")
