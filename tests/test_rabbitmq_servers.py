"""The RabbitMQ nodes that tests start."""

import asyncio
import signal
import socket
import subprocess
import sys
from pathlib import Path

import aiormq
import pytest

from tests.rabbitmq_servers import RabbitMQCluster, RabbitMQServer, StartRabbitMQ, speaks_amqp
from tests.servers import HOST
from tests.waiting import wait_until


async def test_messages_survive_a_kill_and_a_stop(own_rabbitmq: StartRabbitMQ) -> None:
    """A node that was killed or stopped has its durable messages again once it is started, on the same port."""
    server = own_rabbitmq()
    await publish(server.url, "kept", b"1")
    server.flush()
    server.restart()
    await wait_until(lambda: server.queues() == {"kept": 1}, "the queue is led again")
    await publish(server.url, "kept", b"2")
    server.stop()
    assert not server.is_running
    assert not speaks_amqp(server.port)
    server.start()
    await wait_until(lambda: server.queues() == {"kept": 2}, "both messages are there")


async def test_nothing_of_a_node_is_left(own_rabbitmq: StartRabbitMQ) -> None:
    """With the node end its helpers and its epmd, whether it was killed or stopped, paused or not."""
    server = own_rabbitmq()
    processes = processes_in(server.folder)
    assert len(processes) >= 2, "the node, and a helper of it"
    server.pause()
    server.kill()
    await wait_until(lambda: not processes_in(server.folder), "all processes of the node are gone")
    assert not listens(server.epmd_port)
    server.start()
    server.pause()
    server.stop()
    await wait_until(lambda: not processes_in(server.folder), "all processes of the node are gone")
    assert not listens(server.epmd_port)


async def test_a_paused_node_answers_nobody(own_rabbitmq: StartRabbitMQ) -> None:
    """A paused node keeps connections, and answers once it is resumed."""
    server = own_rabbitmq()
    with socket.create_connection((HOST, server.port), timeout=0.2) as connection:
        server.pause()
        connection.sendall(b"AMQP\x00\x00\x09\x01")
        with pytest.raises(TimeoutError):
            connection.recv(1)
        server.resume()
        connection.settimeout(10)
        assert connection.recv(1)


async def test_an_operator_can_do_harm(own_rabbitmq: StartRabbitMQ) -> None:
    """A test can close all connections, take the memory away and give it back, and set what a node is configured by."""
    server = own_rabbitmq("consumer_timeout = 12000", "channel_max = 7")
    server.control("await_startup")  # it listens a moment before it can be asked
    assert server.evaluate("application:get_env(rabbit, consumer_timeout).") == "{ok, 12000}"
    connection = await aiormq.connect(server.url)
    assert connection.connection_tune.channel_max == 7
    server.close_connections()
    await wait_until(lambda: connection.is_closed, "the connection is closed")
    await wait_until(lambda: len(asyncio.all_tasks()) == 1, "what the connection did has ended with it")
    server.block_publishers()
    assert "memory" in server.evaluate("rabbit_alarm:get_alarms().")
    server.unblock_publishers()
    assert server.evaluate("rabbit_alarm:get_alarms().") == "[]"
    assert server.control("list_vhosts", "--no-table-headers") == "/"


async def test_a_cluster_keeps_messages_without_one_node(tmp_path: Path) -> None:
    """What was confirmed by a quorum queue is there when one of three nodes is dead."""
    with RabbitMQCluster(tmp_path / "cluster") as cluster:
        await publish(cluster.urls[0], "kept", b"1")
        assert cluster.nodes[2].queues() == {"kept": 1}
        cluster.nodes[0].kill()
        await wait_until(lambda: cluster.nodes[1].queues() == {"kept": 1}, "another node leads the queue", timeout=30)


def test_a_node_that_cannot_start_shows_its_log(tmp_path: Path) -> None:
    """What rabbitmq-server says of a wrong line is in the error."""
    with pytest.raises(RuntimeError, match="no_such_setting"):
        RabbitMQServer(tmp_path, "no_such_setting = 1").start()


def test_a_missing_rabbitmq_server_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without rabbitmq-server the tests that need it fail and name the command that finds one."""
    monkeypatch.setenv("ASYNCQ_RABBITMQ_SERVER", "/nowhere/rabbitmq-server")
    with pytest.raises(RuntimeError, match="make test"):
        RabbitMQServer(tmp_path)


async def test_a_node_dies_with_the_process_that_started_it(tmp_path: Path) -> None:
    """Neither a node nor its epmd outlives a test session that is killed."""
    session = """
import sys
from contextlib import suppress
from pathlib import Path
from tests.rabbitmq_servers import RabbitMQServer
server = RabbitMQServer(Path(sys.argv[1]))
server.start()
print(server.epmd_port, flush=True)
sys.stdin.read()
"""
    command = [sys.executable, "-c", session, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        epmd_port = int(process.stdout.readline())
        assert processes_in(tmp_path)
        process.send_signal(signal.SIGKILL)
    await wait_until(lambda: not processes_in(tmp_path) and not listens(epmd_port), "the node and its epmd are gone")


async def publish(url: str, queue: str, body: bytes) -> None:
    """Declare a quorum queue, and publish to it with confirmation."""
    connection = await aiormq.connect(url)
    channel = await connection.channel()
    await channel.queue_declare(queue, durable=True, arguments={"x-queue-type": "quorum"})
    await channel.basic_publish(
        body, routing_key=queue, mandatory=True, properties=aiormq.spec.Basic.Properties(delivery_mode=2)
    )
    await connection.close()


def processes_in(folder: Path) -> list[int]:
    """Return the processes that live with that home: a node and what it has started."""
    home = f"HOME={folder}".encode()
    found: list[int] = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if home in (process / "environ").read_bytes().split(b"\0"):
                found.append(int(process.name))
        except OSError:  # it has ended meanwhile
            continue
    return found


def listens(port: int) -> bool:
    """Tell whether somebody listens on a port."""
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0
