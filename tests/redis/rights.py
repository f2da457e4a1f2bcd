"""The user that docs/redis.md describes."""

import re
import shlex
from pathlib import Path

from redis import Redis

from tests.servers import RedisServer

DOCUMENT = Path(__file__).parents[2] / "docs" / "redis.md"
USER, PASSWORD = "asyncq", "secret"


def documented_rules() -> list[str]:
    """Return the rules that the document gives a user, for namespaces of tests."""
    found = re.search(r"^redis-cli (ACL SETUSER asyncq .*?)\n```", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)
    assert found, "the document says how to make the user"
    words = shlex.split(found[1].replace("\\\n", ""))
    assert words[:3] == ["ACL", "SETUSER", USER]
    return [word.replace("{asyncq}", "{test-*}").replace("PASSWORD", PASSWORD) for word in words[3:]]


def granted() -> set[str]:
    """Return the commands that the document grants, in capitals."""
    return {rule[1:].upper() for rule in documented_rules() if rule.startswith("+")}


def create_user(server: RedisServer, *further: str) -> str:
    """Make the user on a server, with further rules; return the server's URL for it."""
    with Redis.from_url(server.url) as redis:
        redis.execute_command("ACL", "SETUSER", USER, "reset", *documented_rules(), *further)
    return server.url.replace("redis://", f"redis://{USER}:{PASSWORD}@")
