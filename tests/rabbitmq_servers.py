"""Real RabbitMQ nodes for tests: each on free ports, in a folder of its own, and gone with the test session."""

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Protocol, Self

from tests.servers import HOST, free_port, start_watchdog, stop_watchdog
from tests.topologies import Topology

READY_TIMEOUT = 90  # mostly 4 s, 3 of them on a CPU that others may want, too
STOP_TIMEOUT = 30
COMMAND_TIMEOUT = 30

_DEBIAN = "/usr/lib/rabbitmq/bin/rabbitmq-server"
_ONE_THREAD = "+S 1:1 +SDcpu 1:1 +SDio 1 +A 1 +sbwt none +sbwtdcpu none +sbwtdio none"
"""Starts a fifth sooner on two cores than with a scheduler for each, and does not spin while it is idle."""
_LADDER_RETRY = "{dead_letter_worker_publisher_confirm_timeout, 10000}"
"""As docs/rabbitmq.md recommends: what becomes due while a killed node starts would else come three minutes late."""
_PROTOCOL_HEADER = b"AMQP\x00\x00\x09\x01"
_CONNECTION_START = bytes((1, 0, 0))
"""A method's frame on channel 0, with which a server answers the header."""

_COUNT_MESSAGES = """
Count = fun(Queue) ->
    case amqqueue:get_type(Queue) of
        rabbit_quorum_queue ->
            case amqqueue:get_pid(Queue) of
                none -> 0;
                Leader ->
                    case ra:leader_query(Leader, {rabbit_fifo, query_messages_total, []}) of
                        {ok, {_, Total}, _} -> Total;
                        _ -> -1
                    end
            end;
        _ ->
            proplists:get_value(messages, rabbit_amqqueue:info(Queue, [messages]))
    end
end,
Name = fun(Queue) -> element(4, amqqueue:get_name(Queue)) end,
Counts = [{Name(Queue), Count(Queue)} || Queue <- rabbit_amqqueue:list(<<"/">>)],
ok = file:write_file("%s", rabbit_json:encode(maps:from_list(Counts))).
"""
"""Asks the leaders themselves: what is told of quorum queues elsewhere is old, and 0 after a start.

A queue that is just being declared has no leader, and no messages; one whose leader has just started may not be able to
say: -1. Through a file: a text that is long, or has a strange name in it, would be told as a list of numbers.
"""


_HAVE_ALARMS_HEARD = """
rabbit_alarm:get_alarms(),
[rabbit_reader:info(Connection, [state]) || Connection <- rabbit_networking:connections()],
ok.
"""
"""Ask who tells of alarms, and then all whom it tells."""


class Distribution(NamedTuple):
    """What Erlang nodes share that talk with each other: who knows their ports, and a secret."""

    epmd_port: int
    cookie: str

    @classmethod
    def of_its_own(cls) -> Self:
        """Return one that no other node has."""
        return cls(free_port(), secrets.token_hex())

    def start_epmd(self) -> subprocess.Popen[bytes]:
        """Start who knows the ports. A node that found none would start one, which outlives it."""
        command = [_beside_server("epmd"), "-port", str(self.epmd_port), "-address", HOST]
        epmd = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _wait_for_listener(self.epmd_port)
        return epmd


class RabbitMQServer:
    """A RabbitMQ of our own, without plugins, which a test may stop, kill, pause and start again.

    Calls block until they have taken effect; a test whose own loop must go on meanwhile calls them through
    `asyncio.to_thread`. To start it takes some four seconds: share the fixture's wherever that will do.

    Args:
        folder: for its data, its configuration and its log, `node.log`; made if it is not there.
        lines: of its configuration: "consumer_timeout = 20000".
        distribution: shared with other nodes, and started by who made it; None: its own.
    """

    def __init__(self, folder: Path, *lines: str, distribution: Distribution | None = None) -> None:
        folder.mkdir(exist_ok=True)
        self.port = free_port()
        self.url = f"amqp://guest:guest@{HOST}:{self.port}/"
        self.node = f"asyncq-{self.port}@localhost"
        self.folder = folder
        self._log = folder / "node.log"
        self._starts_epmd = distribution is None
        self._distribution = distribution or Distribution.of_its_own()
        self._program = rabbitmq_server_path()
        self._environment = _environment(folder, self.node, self._distribution)
        self._processes: list[subprocess.Popen[bytes]] = []  # the node, and its epmd
        self._watchdog: subprocess.Popen[bytes] | None = None
        _configure(folder, self.port, lines, self._distribution.cookie)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def start(self) -> None:
        """Start it, or start it again on the same port and data; return when it answers. RuntimeError: it does not."""
        self.launch()
        self.wait_until_ready()

    def launch(self) -> None:
        """Start it, and do not wait."""
        if self._processes:
            raise RuntimeError("This server runs already.")
        with ExitStack() as started, self._log.open("ab") as log:
            started.callback(self.kill)
            epmd = [self._distribution.start_epmd()] if self._starts_epmd else []
            self._processes = epmd
            node = subprocess.Popen(
                self._program, env=self._environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
            self._processes = [node, *epmd]
            self._watchdog = start_watchdog(*(process.pid for process in self._processes))
            started.pop_all()

    def wait_until_ready(self) -> None:
        """Return when it answers. RuntimeError: it does not, and is killed."""
        node = self._running()
        deadline = time.monotonic() + READY_TIMEOUT
        while not speaks_amqp(self.port):
            if node.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(
                    f"rabbitmq-server does not answer on port {self.port}. Its log:\n{self._log.read_text()}"
                )
            time.sleep(0.02)

    def stop(self) -> None:
        """End it in order (SIGTERM), in about a second: clients are told, queues are flushed."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once (SIGKILL), paused or not. Nothing happens if it does not run."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Kill it and start it on the same port and data."""
        self.kill()
        self.start()

    def pause(self) -> None:
        """Freeze it (SIGSTOP), and return when it stands still: connections stay open, and nobody answers."""
        node = self._running()
        node.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, node.pid, os.WSTOPPED)

    def resume(self) -> None:
        """Let it go on after `pause`."""
        self._running().send_signal(signal.SIGCONT)

    @property
    def is_running(self) -> bool:
        """Whether its process lives, paused or not."""
        return bool(self._processes) and self._processes[0].poll() is None

    @property
    def pid(self) -> int:
        """The process of the node. RuntimeError: it does not run."""
        return self._running().pid

    @property
    def pids(self) -> set[int]:
        """All processes that are there for it."""
        processes = [*self._processes, *([self._watchdog] if self._watchdog else [])]
        return {process.pid for process in processes}

    @property
    def epmd_port(self) -> int:
        """The port of who knows the ports of the nodes that it talks with."""
        return self._distribution.epmd_port

    def log(self) -> str:
        """Return what it has logged."""
        return self._log.read_text()

    def queues(self) -> dict[str, int]:
        """Return the queues of the virtual host "/", and how many messages each has, the unacknowledged included."""
        counts = self.folder / "counts.json"
        self.evaluate(_COUNT_MESSAGES % counts)
        return json.loads(counts.read_bytes())

    def flush(self) -> None:
        """Let it write to disk which quorum queues there are.

        It does so a second or two after they were declared. When it is killed before, such a queue is without a leader
        for ever, and what was confirmed in it is gone.
        """
        self.evaluate("[ok = dets:sync(Table) || Table <- dets:all()].")

    def block_publishers(self) -> None:
        """Let it find that it has no memory left: it reads no more from connections that publish.

        Returns once each connection has been told: what is asked after that is answered after that.
        """
        self._set_watermark("0.0")
        self.evaluate(_HAVE_ALARMS_HEARD)

    def unblock_publishers(self) -> None:
        """Let it have memory again."""
        self._set_watermark("0.4")

    def fill_disk(self) -> None:
        """Let it find that its disk is full: it reads no more from connections that publish. Returns as the above."""
        self._set_disk_limit(1 << 60)
        self.evaluate(_HAVE_ALARMS_HEARD)

    def empty_disk(self) -> None:
        """Let it have room again."""
        self._set_disk_limit(50_000_000)

    def set_consumer_timeout(self, milliseconds: int) -> None:
        """Let it lend a message for no longer on channels that are opened from now on; they look each second."""
        self.evaluate("application:set_env(rabbit, channel_tick_interval, 1000).")
        self.evaluate(f"application:set_env(rabbit, consumer_timeout, {milliseconds}).")

    def close_connections(self) -> None:
        """Close all connections of clients, as an operator does."""
        self.evaluate('[rabbit_networking:close_connection(C, "by a test") || C <- rabbit_networking:connections()].')

    def evaluate(self, expressions: str) -> str:
        """Let the node evaluate Erlang, in some 5 ms, and return what its last value is. RuntimeError: it cannot."""
        answer = self._run(
            [_beside_server("erl_call"), "-sname", self.node, "-timeout", str(COMMAND_TIMEOUT), "-e"],
            f"{expressions}\n",
        )
        if not answer.startswith("{ok, "):
            raise RuntimeError(f"The node answers {answer!r} to: {expressions}")
        return (
            answer.removeprefix("{ok, ").removesuffix("}").strip('"')
        )  # what is quoted in a string, it leaves as it is

    def control(self, *arguments: str) -> str:
        """Return what rabbitmqctl prints, in some 0.5 s. RuntimeError: it fails."""
        return self._run([_beside_server("rabbitmqctl"), "--quiet", *arguments], "")

    def _set_watermark(self, fraction: str) -> None:
        self.evaluate(f"vm_memory_monitor:set_vm_memory_high_watermark({fraction}).")

    def _set_disk_limit(self, free: int) -> None:
        self.evaluate(f"rabbit_disk_monitor:set_disk_free_limit({free}).")

    def _run(self, command: Sequence[str], text: str) -> str:
        ended = subprocess.run(
            command,
            input=text,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT,
            check=False,
        )
        if ended.returncode != 0:
            raise RuntimeError(f"{' '.join(command)} failed: {ended.stdout}{ended.stderr}")
        return ended.stdout.strip()

    def _running(self) -> subprocess.Popen[bytes]:
        if not self.is_running:
            raise RuntimeError("This server does not run.")
        return self._processes[0]

    def _end(self, how: signal.Signals) -> None:
        for process, final in zip(self._processes, (how, signal.SIGKILL), strict=False):
            process.send_signal(final)
            process.send_signal(signal.SIGCONT)  # a paused process takes SIGTERM only once it goes on
            process.wait(STOP_TIMEOUT)
        self._processes = []
        if self._watchdog is not None:
            stop_watchdog(self._watchdog)
            self._watchdog = None


class StartRabbitMQ(Protocol):
    """What the fixture `own_rabbitmq` gives: start a node that ends with the test."""

    def __call__(self, *lines: str) -> RabbitMQServer: ...


class RabbitMQCluster(Topology):
    """A cluster of three nodes.

    Args:
        folder: for the data of its nodes.
        lines: of the configuration of each.

    Attributes:
        nodes: its servers.
    """

    def __init__(self, folder: Path, *lines: str) -> None:
        super().__init__()
        folder.mkdir(exist_ok=True)
        self._distribution = Distribution.of_its_own()
        first = RabbitMQServer(folder / "node-0", *lines, distribution=self._distribution)
        joining = f"cluster_formation.classic_config.nodes.1 = {first.node}"
        others = [
            RabbitMQServer(folder / f"node-{number}", joining, *lines, distribution=self._distribution)
            for number in (1, 2)
        ]
        self.nodes = [first, *others]

    @property
    def urls(self) -> list[str]:
        """The URL of each node."""
        return [node.url for node in self.nodes]

    def _start(self, servers: ExitStack) -> None:
        epmd = servers.enter_context(self._distribution.start_epmd())
        servers.callback(stop_watchdog, start_watchdog(epmd.pid))
        servers.callback(epmd.kill)
        for node in self.nodes:
            servers.callback(node.kill)
        first, *others = self.nodes
        first.start()
        for node in others:  # a node that starts for the first time joins who is there
            node.launch()
        for node in others:
            node.wait_until_ready()


def rabbitmq_server_path() -> str:
    """Return the rabbitmq-server that `make test` found, Debian's, or the one on PATH. RuntimeError: there is none."""
    chosen = os.environ.get("ASYNCQ_RABBITMQ_SERVER")
    path = shutil.which(chosen) if chosen else shutil.which(_DEBIAN) or shutil.which("rabbitmq-server")
    if path is None:
        raise RuntimeError(
            "These tests need rabbitmq-server. `make test` finds or installs it, or says what to install."
        )
    return path


def _beside_server(name: str) -> str:
    """Return a program of the server's own version, where one lies beside it; else the one on PATH."""
    path = Path(rabbitmq_server_path()).with_name(name)
    return str(path) if path.exists() else name


def speaks_amqp(port: int) -> bool:
    """Tell whether a RabbitMQ on that port begins to talk with a client."""
    try:
        with socket.create_connection((HOST, port), timeout=2) as connection:
            connection.sendall(_PROTOCOL_HEADER)
            return connection.recv(3) == _CONNECTION_START
    except OSError:
        return False


def _configure(folder: Path, port: int, lines: Sequence[str], cookie: str) -> None:
    settings = [f"listeners.tcp.1 = {HOST}:{port}", "log.console = true", "log.file = false", *lines]
    (folder / "rabbitmq.conf").write_text("".join(f"{line}\n" for line in settings))
    (folder / "advanced.config").write_text(f"[{{rabbit, [{_LADDER_RETRY}]}}].\n")
    secret = folder / ".erlang.cookie"
    secret.write_text(cookie)
    secret.chmod(0o600)  # else Erlang does not take it


def _environment(folder: Path, node: str, distribution: Distribution) -> dict[str, str]:
    """Return what the server's scripts read. Nothing of the machine's own RabbitMQ is in it."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("RABBITMQ_", "ERL_"))}
    return inherited | {
        "HOME": str(folder),
        "ERL_CRASH_DUMP": str(folder / "crash.dump"),
        "ERL_EPMD_PORT": str(distribution.epmd_port),
        "ERL_EPMD_ADDRESS": HOST,
        "RABBITMQ_NODENAME": node,
        "RABBITMQ_DIST_PORT": str(free_port()),
        "RABBITMQ_CONF_ENV_FILE": str(folder / "no-environment"),
        "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
        "RABBITMQ_ADVANCED_CONFIG_FILE": str(folder / "advanced.config"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "no-plugins"),
        "RABBITMQ_MNESIA_BASE": str(folder / "data"),
        "RABBITMQ_LOG_BASE": str(folder),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": f"{_ONE_THREAD} -kernel inet_dist_use_interface {{127,0,0,1}}",
        "RUNNING_UNDER_SYSTEMD": "true",  # the script becomes the node, instead of its parent
    }


def _wait_for_listener(port: int) -> None:
    deadline = time.monotonic() + READY_TIMEOUT
    while True:
        try:
            socket.create_connection((HOST, port), timeout=2).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.005)
        else:
            return
