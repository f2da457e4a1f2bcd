"""The network of the chaos suite: each of its faults is what it says, and heals."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest

from tests.chaos.link import Direction
from tests.chaos.proxy import Proxy
from tests.servers import HOST, free_port

SOON = 5.0
SHORT = 0.15


class Echo:
    """A server that sends back what it gets, by connection; it holds a connection open when its client has ended."""

    def __init__(self) -> None:
        self._listener = socket.create_server((HOST, 0))
        self.port: int = self._listener.getsockname()[1]
        self.accepted: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self.accepted:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.accepted.append(connection)
                self._threads.append(threading.Thread(target=self._echo, args=[connection]))
                self._threads[-1].start()

    def _echo(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            while content := connection.recv(65_536):
                connection.sendall(content)
            connection.sendall(b"the end was seen")


@pytest.fixture
def echo() -> Iterator[Echo]:
    """A server behind the network."""
    server = Echo()
    yield server
    server.close()


@pytest.fixture
def proxy(echo: Echo) -> Iterator[Proxy]:
    """A network that leads to it."""
    with Proxy(echo.port) as proxy:
        yield proxy


def connect(proxy: Proxy) -> socket.socket:
    """Connect a client, through to the server."""
    with ExitStack() as stack:
        client = stack.enter_context(socket.create_connection((HOST, proxy.port), timeout=SOON))
        assert asked(client, b"hello") == b"hello"
        stack.pop_all()
        return client


def asked(client: socket.socket, content: bytes) -> bytes:
    """Send and receive as much."""
    client.sendall(content)
    return received(client, len(content))


def received(client: socket.socket, size: int) -> bytes:
    """Receive so many bytes, or what there was before the end."""
    content = b""
    while len(content) < size and (piece := client.recv(size - len(content))):
        content += piece
    return content


def is_silent(client: socket.socket) -> bool:
    """Say whether nothing comes, no end either, for a short time."""
    client.settimeout(SHORT)
    try:
        client.recv(1)
    except TimeoutError:
        return True
    finally:
        client.settimeout(SOON)
    return False


def test_bytes_arrive(proxy: Proxy) -> None:
    """Many megabytes pass unchanged in both directions at once, however the pieces fall."""
    content = bytes(range(256)) * 100_000
    with connect(proxy) as client:
        sending = threading.Thread(target=client.sendall, args=[content])
        sending.start()
        assert received(client, len(content)) == content
        sending.join()


def test_an_end_is_passed_on(proxy: Proxy) -> None:
    """A client that ends its half is heard by the server, whose answer still arrives, and its end after it."""
    with connect(proxy) as client:
        client.shutdown(socket.SHUT_WR)
        assert client.recv(100) == b"the end was seen"
        assert client.recv(1) == b""


def test_cut_by_reset(proxy: Proxy, echo: Echo) -> None:
    """All connections are reset on both sides, and new ones are accepted at once."""
    with connect(proxy) as one, connect(proxy) as other:
        assert proxy.connections == 2
        assert proxy.cut() == 2
        assert proxy.connections == 0
        for client in (one, other):
            with pytest.raises(ConnectionResetError):
                client.recv(1)
    connect(proxy).close()


def test_cut_by_fin(proxy: Proxy) -> None:
    """All connections end in order."""
    with connect(proxy) as client:
        assert proxy.cut(reset=False) == 1
        assert client.recv(1) == b""


def test_cut_at_once_after_connecting(proxy: Proxy) -> None:
    """A connection that has just been made is cut like any other; none escapes between accepting and passing on."""
    for _ in range(50):
        with socket.create_connection((HOST, proxy.port), timeout=SOON) as client:
            while not proxy.cut():
                pass
            with pytest.raises(ConnectionResetError):
                client.recv(1)


def test_refuse(proxy: Proxy) -> None:
    """New connections are refused while those that are there go on; healed, it accepts again on the same port."""
    with connect(proxy) as client:
        proxy.refuse()
        proxy.refuse()
        with pytest.raises(ConnectionRefusedError):
            connect(proxy)
        assert asked(client, b"still") == b"still"
        proxy.heal()
        connect(proxy).close()
        assert asked(client, b"still") == b"still"


@pytest.mark.parametrize("directions", [(), (Direction.TO_SERVER,), (Direction.TO_CLIENT,)])
def test_delay(proxy: Proxy, directions: tuple[Direction, ...]) -> None:
    """Each byte comes later by the delay of its direction; bytes that follow each other do not add up."""
    proxy.delay(SHORT, *directions)
    with connect(proxy) as client:
        begun = time.monotonic()
        for _ in range(10):
            client.sendall(b"x" * 10)
        assert received(client, 100) == b"x" * 100
        taken = time.monotonic() - begun
    expected = SHORT * (len(directions) or 2)
    assert expected <= taken < 4 * SHORT
    proxy.heal()
    with connect(proxy) as client:
        begun = time.monotonic()
        assert asked(client, b"now") == b"now"
        assert time.monotonic() - begun < SHORT


@pytest.mark.parametrize("directions", [(), (Direction.TO_SERVER,), (Direction.TO_CLIENT,)])
def test_blackhole(proxy: Proxy, echo: Echo, directions: tuple[Direction, ...]) -> None:
    """Nothing arrives and nothing ends, for new connections too; healed, those that lost bytes are reset."""
    with connect(proxy) as idle, connect(proxy) as busy:
        proxy.blackhole(*directions)
        busy.sendall(b"lost")
        assert is_silent(busy)
        with socket.create_connection((HOST, proxy.port), timeout=SOON) as fresh:
            fresh.sendall(b"lost as well")
            assert is_silent(fresh)
            proxy.heal()
            for client in (busy, fresh):
                with pytest.raises(ConnectionResetError):
                    client.recv(1)
        assert asked(idle, b"alive") == b"alive"
    with connect(proxy):
        pass


def test_the_other_direction_of_a_blackhole(proxy: Proxy, echo: Echo) -> None:
    """With one direction dead, what is sent the other way arrives."""
    with connect(proxy) as client:
        proxy.blackhole(Direction.TO_SERVER)
        echo.accepted[0].sendall(b"news")
        assert received(client, 4) == b"news"
        client.sendall(b"lost")
        assert is_silent(client)


def test_an_end_in_a_blackhole(proxy: Proxy, echo: Echo) -> None:
    """A client that goes away unheard stays connected for the server until the network heals."""
    with connect(proxy) as client:
        proxy.blackhole()
        client.close()
    assert is_silent(echo.accepted[0])
    assert proxy.connections == 1
    proxy.heal()
    assert proxy.connections == 0


def test_half_close(proxy: Proxy, echo: Echo) -> None:
    """A direction ends by FIN while the other goes on; new connections are whole."""
    with connect(proxy) as client:
        assert proxy.half_close(Direction.TO_SERVER) == 1
        assert client.recv(100) == b"the end was seen"
    with connect(proxy) as client:
        assert proxy.half_close(Direction.TO_CLIENT) == 1
        assert client.recv(1) == b""
        client.sendall(b"more")
        with connect(proxy):
            pass


def test_a_server_that_is_down(proxy: Proxy) -> None:
    """While nobody listens behind it clients are reset; once somebody does, they are served."""
    port = free_port()
    with Proxy(port) as other:
        with pytest.raises(ConnectionResetError):
            connect(other)
        other.redirect(proxy.port)
        connect(other).close()


async def test_a_busy_test(proxy: Proxy) -> None:
    """Clients are served while the loop that gave the orders is blocked, and an order works from that loop."""
    with connect(proxy) as client:
        answers = asyncio.get_running_loop().run_in_executor(None, asked, client, b"busy")
        time.sleep(SHORT)  # noqa: ASYNC251 - the fault that is tested: the loop is blocked
        assert await answers == b"busy"
        assert proxy.cut() == 1


def test_nothing_is_left(echo: Echo) -> None:
    """Closing ends what is connected and what is held back, and frees the port."""
    with Proxy(echo.port) as proxy:
        client = connect(proxy)
        proxy.delay(60)
        client.sendall(b"held back")
        proxy.blackhole()
        with socket.create_connection((HOST, proxy.port)) as other:
            other.sendall(b"lost")
    with pytest.raises(ConnectionResetError), client:
        client.recv(1)
    with socket.create_server((HOST, proxy.port)):
        pass
