"""The servers that tests start."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from redis.asyncio import Redis
from redis.exceptions import TimeoutError as RedisTimeoutError

from tests.redis_keys import assert_no_keys_left
from tests.servers import RedisServer, StartRedis, answers_ping
from tests.waiting import wait_until


async def test_append_only_data_survives_a_kill(own_redis: StartRedis) -> None:
    """A server that was started append-only has its keys again after kill and start, on the same port."""
    server = own_redis(appendonly=True)
    async with Redis.from_url(server.url) as redis:
        await redis.set("key", "value")
    server.kill()
    assert not server.is_running
    assert not answers_ping(server.port)
    server.start()
    async with Redis.from_url(server.url) as redis:
        assert await redis.get("key") == b"value"


async def test_data_is_gone_after_a_restart_without_append_only(own_redis: StartRedis) -> None:
    """A server without an append-only file comes back empty."""
    server = own_redis()
    async with Redis.from_url(server.url) as redis:
        await redis.set("key", "value")
    server.restart()
    async with Redis.from_url(server.url) as redis:
        assert await redis.get("key") is None


async def test_a_paused_server_keeps_connections_and_answers_nobody(own_redis: StartRedis) -> None:
    """A paused server lets a client wait, and answers it once it is resumed."""
    server = own_redis()
    async with Redis.from_url(server.url, socket_timeout=0.1) as redis:
        await redis.set("key", "value")
        server.pause()
        with pytest.raises(RedisTimeoutError):
            await redis.get("key")
        server.resume()
        assert await redis.get("key") == b"value"


def test_a_paused_server_can_be_stopped(own_redis: StartRedis) -> None:
    """Stopping a paused server ends it in order."""
    server = own_redis()
    server.pause()
    server.stop()
    assert not server.is_running


def test_a_server_that_cannot_start_shows_its_log(tmp_path: Path) -> None:
    """What redis-server says of a wrong option is in the error."""
    with pytest.raises(RuntimeError, match="no-such-option"):
        RedisServer(tmp_path, "--no-such-option", "1").start()


def test_a_missing_redis_server_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without redis-server the tests that need it fail and name the command that finds one."""
    monkeypatch.setenv("ASYNCQ_REDIS_SERVER", "/nowhere/redis-server")
    with pytest.raises(RuntimeError, match="make test"):
        RedisServer(tmp_path)


async def test_a_server_dies_with_the_process_that_started_it(tmp_path: Path) -> None:
    """A server does not outlive a test session that is killed."""
    session = """
import sys
from pathlib import Path
from tests.servers import RedisServer
server = RedisServer(Path(sys.argv[1]))
server.start()
print(server.port, flush=True)
sys.stdin.read()
"""
    command = [sys.executable, "-c", session, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        port = int(process.stdout.readline())
        assert answers_ping(port)
        process.send_signal(signal.SIGKILL)
    await wait_until(lambda: not answers_ping(port), "the server is gone")


async def test_a_key_without_ttl_is_found(redis_url: str, namespace: str) -> None:
    """The check names a key that would stay for ever, and neither one with a TTL nor a documented one."""
    async with Redis.from_url(redis_url) as redis:
        await redis.set(f"{namespace}:passing", 1, ex=60)
        await redis.set(f"{{{namespace}}}:q:default:kept", 1, ex=60)
        await assert_no_keys_left(redis_url, namespace)
        await redis.persist(f"{{{namespace}}}:q:default:kept")
        with pytest.raises(AssertionError, match="kept"):
            await assert_no_keys_left(redis_url, namespace)
        await assert_no_keys_left(redis_url, namespace, allowed=["{{namespace}}:q:default:kept"])
        await redis.delete(f"{{{namespace}}}:q:default:kept")


async def test_waiting_for_nothing_names_what_was_waited_for() -> None:
    """A condition that never holds fails with its description."""
    with pytest.raises(AssertionError, match="pigs fly"):
        await wait_until(lambda: False, "pigs fly", timeout=0.02)
