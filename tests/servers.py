"""Real servers for tests: each on a free port, in a folder of its own, and gone with the test session."""

import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections import deque
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

HOST = "127.0.0.1"
READY_TIMEOUT = 30
STOP_TIMEOUT = 10

_CHANCE = random.SystemRandom()  # which nobody seeds
_given: deque[int] = deque(maxlen=1_000)


class RedisServer:
    """A Redis of our own, which a test may stop, kill, pause and start again.

    Calls block until they have taken effect, mostly some 20 ms; a test whose own loop must go on meanwhile
    calls them through `asyncio.to_thread`.

    Args:
        folder: for its data and its log, `redis.log`; made if it is not there.
        arguments: further options of redis-server: "--maxmemory", "10mb".
        appendonly: keep every write on the disk before it is confirmed, so that `kill` and `start` lose nothing.
    """

    def __init__(self, folder: Path, *arguments: str, appendonly: bool = False) -> None:
        folder.mkdir(exist_ok=True)
        self.port = free_port()
        self.url = f"redis://{HOST}:{self.port}/0"
        self._folder = folder
        self._log = folder / "redis.log"
        self._command = [
            redis_server_path(),
            *("--port", str(self.port), "--bind", HOST, "--dir", str(folder)),
            *("--save", "", "--appendonly", "yes" if appendonly else "no", "--appendfsync", "always"),
            *arguments,
        ]
        self._process: subprocess.Popen[bytes] | None = None
        self._watchdog: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def start(self) -> None:
        """Start it, or start it again on the same port and data; return when it answers. RuntimeError: it does not."""
        if self.is_running:
            raise RuntimeError("This server runs already.")
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self._watchdog = start_watchdog(self._process.pid)
        try:
            self._wait_until_ready(self._process)
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """End it in order (SIGTERM): clients are disconnected, files are flushed."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once (SIGKILL), paused or not. Nothing happens if it does not run."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Kill it and start it on the same port. Without `appendonly` its data is gone."""
        self.kill()
        self.start()

    def pause(self) -> None:
        """Freeze it (SIGSTOP): connections stay open, and nobody answers."""
        self._running().send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on after `pause`."""
        self._running().send_signal(signal.SIGCONT)

    @property
    def is_running(self) -> bool:
        """Whether its process lives, paused or not."""
        return self._process is not None and self._process.poll() is None

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            raise RuntimeError("This server does not run.")
        return self._process

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.send_signal(signal.SIGCONT)  # a paused process takes SIGTERM only once it goes on
            self._process.wait(STOP_TIMEOUT)
            self._process = None
        if self._watchdog is not None:
            stop_watchdog(self._watchdog)
            self._watchdog = None

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + READY_TIMEOUT
        while not answers_ping(self.port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(
                    f"redis-server does not answer on port {self.port}. Its log:\n{self._log.read_text()}"
                )
            time.sleep(0.005)  # between two looks


class StartRedis(Protocol):
    """What the fixture `own_redis` gives: start a server that ends with the test."""

    def __call__(self, *arguments: str, appendonly: bool = False) -> RedisServer: ...


def redis_server_path() -> str:
    """Return the redis-server that `make test` found, or the one on PATH. RuntimeError: there is none."""
    path = shutil.which(os.environ.get("ASYNCQ_REDIS_SERVER") or "redis-server")
    if path is None:
        raise RuntimeError("These tests need redis-server. `make test` finds or installs it, or says what to install.")
    return path


def answers_ping(port: int) -> bool:
    """Tell whether a Redis on that port is up, and has read its data."""
    try:
        with socket.create_connection((HOST, port), timeout=1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(64).startswith(b"+PONG")  # -LOADING: not yet
    except OSError:
        return False


def free_port() -> int:
    """Return a port that nobody listens on, below those that the system gives to outgoing connections.

    So nobody is given it while a server is down between `kill` and `start`, not even a client that tries to
    reconnect: to a port in that range on its own host, it would sooner or later be connected to itself.

    Nobody is given it soon after either: a server may take a while to start. Processes that run tests side by side
    each have ports of their own.
    """
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    ports = range(15_000 + number % processes, 32_000, processes)
    while True:
        port = _CHANCE.choice(ports)
        if port in _given:
            continue
        with socket.socket() as probe:
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
        _given.append(port)
        return port


def start_watchdog(*pids: int) -> subprocess.Popen[bytes]:
    """Start a process that kills those as soon as this one is gone, however it ended.

    Its standard input is a pipe that nobody writes to: it ends with us. (PR_SET_PDEATHSIG would fire when the thread
    that started the server ends.)
    """
    return subprocess.Popen(["sh", "-c", 'read -r _; kill -9 "$@"', "sh", *map(str, pids)], stdin=subprocess.PIPE)


def stop_watchdog(watchdog: subprocess.Popen[bytes]) -> None:
    """End the watchdog, which then kills nobody."""
    watchdog.kill()
    watchdog.communicate()
