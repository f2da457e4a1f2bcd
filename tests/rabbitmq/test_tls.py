"""TLS: certificates of the server and of ours, and what is wrong with them."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from asyncq import RabbitMQBroker
from asyncq.errors import ConfigurationError
from asyncq.rabbitmq.connection import connect
from asyncq.rabbitmq.urls import read_urls
from tests.rabbitmq.publishers import CONNECT_TIMEOUT, declare, messages, publisher, take_ids
from tests.rabbitmq_servers import RabbitMQServer
from tests.servers import HOST, free_port


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Certificates: of the server, of a client, and of an authority that signed neither."""
    folder = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    trustme.CA().cert_pem.write_to_path(folder / "other.pem")
    for name, certificate in (("server", authority.issue_cert(HOST)), ("client", authority.issue_cert("client"))):
        certificate.private_key_pem.write_to_path(folder / f"{name}.key")
        certificate.cert_chain_pems[0].write_to_path(folder / f"{name}.pem")
    return folder


@pytest.fixture(scope="module")
def tls_port(folder: Path) -> Iterator[tuple[RabbitMQServer, int]]:
    """A node that wants certificates of its clients, and its port for TLS."""
    port = free_port()
    lines = (
        f"listeners.ssl.1 = {HOST}:{port}",
        f"ssl_options.cacertfile = {folder}/ca.pem",
        f"ssl_options.certfile = {folder}/server.pem",
        f"ssl_options.keyfile = {folder}/server.key",
        "ssl_options.verify = verify_peer",
        "ssl_options.fail_if_no_peer_cert = true",
    )
    with RabbitMQServer(folder / "node", *lines) as server:
        yield server, port


async def test_both_sides_show_their_certificates(
    tls_port: tuple[RabbitMQServer, int], folder: Path, namespace: str
) -> None:
    """Messages go over TLS to a server that wants to see our certificate."""
    server, port = tls_port
    await declare(server.url, namespace)
    url = f"amqps://{HOST}:{port}?cafile={folder}/ca.pem&certfile={folder}/client.pem&keyfile={folder}/client.key"
    async with publisher(url) as publishing:
        assert await publishing.publish(messages(namespace, 100, size=10_000)) == [None] * 100
    assert len(await take_ids(server.url, namespace)) == 100


async def test_a_broker_over_tls(tls_port: tuple[RabbitMQServer, int], folder: Path, namespace: str) -> None:
    """A broker enters over TLS; what is wrong with a certificate, or that TLS is not spoken, is said in words."""
    _, port = tls_port
    mine = f"certfile={folder}/client.pem&keyfile={folder}/client.key"
    broker = RabbitMQBroker(f"amqps://{HOST}:{port}?cafile={folder}/ca.pem&{mine}", namespace=namespace)
    assert all(finding.is_fine for finding in await broker.check())
    for url, words in (
        (f"amqps://{HOST}:{port}?cafile={folder}/other.pem&{mine}", "certificate verify failed"),
        (f"amqp://{HOST}:{port}", "amqps://"),
    ):
        broker = RabbitMQBroker(url, namespace=namespace)
        with pytest.raises(ConfigurationError, match=words):
            await broker.open()
        server, *_ = await broker.check()
        assert words in server.text


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("cafile={folder}/other.pem", "certificate verify failed"),
        ("cafile={folder}/server.key", "can't be used"),
        ("cafile={folder}/ca.pem&certfile={folder}/client.pem&keyfile={folder}/server.key", "can't be used"),
    ],
)
async def test_a_wrong_certificate_is_told(
    tls_port: tuple[RabbitMQServer, int], folder: Path, options: str, words: str
) -> None:
    """A certificate that does not fit is a ConfigurationError that says which."""
    _, port = tls_port
    url = f"amqps://{HOST}:{port}?{options.format(folder=folder)}"
    with pytest.raises(ConfigurationError, match=words):
        await connect(read_urls(url), "testing", seconds=CONNECT_TIMEOUT)
