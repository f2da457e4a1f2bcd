"""What a check says of a Redis."""

import asyncio

import pytest
from redis.asyncio import Redis

from asyncq import RedisBroker
from asyncq.findings import Finding, Severity
from asyncq.redis.checks import findings_of
from tests.servers import StartRedis

GOOD = {"redis_version": "7.0.15", "aof_enabled": "1", "maxmemory": "0", "maxmemory_policy": "noeviction"}


async def found(url: str, about: str) -> Finding:
    """Return what a check says about something."""
    (finding,) = [each for each in await RedisBroker(url).check() if each.about == about]
    return finding


@pytest.mark.parametrize(
    ("setting", "value", "about", "severity"),
    [
        ("appendonly", "no", "persistence", Severity.WARNING),
        ("appendfsync", "no", "persistence", Severity.WARNING),
        ("appendfsync", "everysec", "persistence", Severity.NOTE),
        ("appendfsync", "always", "persistence", Severity.OK),
        ("maxmemory-policy", "noeviction", "memory", Severity.OK),
        ("maxmemory-policy", "allkeys-lru", "memory", Severity.WARNING),
    ],
)
async def test_settings(own_redis: StartRedis, setting: str, value: str, about: str, severity: Severity) -> None:
    """What a server may lose is said, by its settings."""
    server = own_redis("--maxmemory", "100mb", appendonly=True)
    async with Redis.from_url(server.url) as redis:
        await redis.config_set(setting, value)
    finding = await found(server.url, about)
    assert finding.severity is severity
    assert value in finding.text or value == "no"


async def test_a_user_who_may_not_ask(own_redis: StartRedis) -> None:
    """A user without the right to ask for settings gets an answer all the same."""
    server = own_redis(appendonly=True)
    async with Redis.from_url(server.url) as redis:
        await redis.execute_command(
            *("ACL", "SETUSER", "me", "on", ">secret", "~*", "&*", "+@all", "-config", "-info"),
        )
    url = server.url.replace("redis://", "redis://me:secret@")
    finding = await found(url, "server")
    assert finding.severity is Severity.NOTE
    assert "+info" in finding.text
    async with Redis.from_url(server.url) as redis:
        await redis.execute_command("ACL", "SETUSER", "me", "+info")
    assert (await found(url, "persistence")).severity is Severity.NOTE


async def test_a_server_that_is_away(own_redis: StartRedis) -> None:
    """A server that is away is a finding, not an exception; nothing is left open."""
    server = own_redis()
    broker = RedisBroker(server.url, command_timeout=1)
    assert all(finding.severity is not Severity.ERROR for finding in await broker.check())
    await asyncio.to_thread(server.kill)
    (finding,) = await broker.check()
    assert (finding.severity, finding.about) == (Severity.ERROR, "server")
    assert str(server.port) in finding.text


@pytest.mark.parametrize(
    ("facts", "about", "severity"),
    [
        ({"rdb_last_bgsave_status": "err"}, "persistence", Severity.ERROR),
        ({"aof_last_write_status": "err"}, "persistence", Severity.ERROR),
        ({"connected_slaves": "1"}, "replicas", Severity.NOTE),
        ({"maxmemory_policy": "allkeys-lru"}, "memory", Severity.NOTE),
    ],
)
def test_facts(facts: dict[str, str], about: str, severity: Severity) -> None:
    """What only happens now and then is told from the facts of the server."""
    findings = findings_of(GOOD | facts, "always", "here")
    assert [finding.severity for finding in findings if finding.about == about][-1] is severity


def test_valkey() -> None:
    """A Valkey is called by its own name and version."""
    server, *_ = findings_of(GOOD | {"valkey_version": "8.1.0"}, "always", "here")
    assert server.text == "Valkey 8.1.0 at here."
