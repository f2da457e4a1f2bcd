"""URLs of RabbitMQ servers."""

import pytest

from asyncq.errors import ConfigurationError
from asyncq.rabbitmq.urls import Target, Tls, read_urls


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("amqp://", Target("localhost", 5672)),
        ("amqp://rabbit", Target("rabbit", 5672)),
        ("amqp://rabbit:1/", Target("rabbit", 1)),
        ("amqp://rabbit/%2F", Target("rabbit", 5672)),
        ("amqp://rabbit/shop", Target("rabbit", 5672, vhost="shop")),
        ("amqp://rabbit/a%2Fb", Target("rabbit", 5672, vhost="a/b")),
        ("amqp://me:p%40ss%2C@rabbit", Target("rabbit", 5672, "me", "p@ss,")),
        ("amqp://[::1]:1", Target("::1", 1)),
        ("amqp://rabbit?heartbeat=5", Target("rabbit", 5672, heartbeat=5)),
        ("amqp://rabbit?heartbeat=0", Target("rabbit", 5672, heartbeat=0)),
        ("amqps://rabbit", Target("rabbit", 5671, tls=Tls())),
        (
            "amqps://me@rabbit?cafile=ca.pem&certfile=me.pem&keyfile=key.pem&no_verify_ssl=1&auth=external",
            Target("rabbit", 5671, "me", "", "/", Tls("ca.pem", "", "me.pem", "key.pem", False), mechanism="external"),
        ),
    ],
)
def test_a_url_says_where_and_how(url: str, target: Target) -> None:
    """A URL names the node, the user, the virtual host, TLS and the heartbeat; what it leaves out is as usual."""
    assert read_urls(url) == (target,)


@pytest.mark.parametrize(
    "urls",
    [
        "amqp://me:a,b@one/shop,amqp://me:a,b@two:1/shop",
        "amqp://me:a,b@one/shop, amqp://me:a,b@two:1/shop",
        "amqp://me:a,b@one,two:1/shop",
        ["amqp://me:a,b@one/shop", "amqp://me:a,b@two:1/shop"],
    ],
)
def test_several_nodes_keep_their_order(urls: str | list[str]) -> None:
    """Several nodes are several URLs, with commas between them or in a list, or several hosts of one URL."""
    assert read_urls(urls) == (
        Target("one", 5672, "me", "a,b", "shop"),
        Target("two", 1, "me", "a,b", "shop"),
    )


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("redis://rabbit", "its scheme is 'redis'"),
        ("rabbit:5672", "Spellings: amqp://"),
        ("", "its scheme is ''"),
        ([], "no URL"),
        ("amqp://rabbit:port", "'rabbit:port'"),
        ("amqp://[::1", "Spellings"),
        ("amqp://me@rabbit", "names the user 'me', and no password"),
        ("amqp://rabbit?heartbeats=5", "Near it: 'heartbeat'"),
        ("amqp://rabbit?heartbeat=soon", "number of seconds, 0 (none) to 65534; got 'soon'"),
        ("amqp://rabbit?heartbeat=-1", "got '-1'"),
        ("amqp://rabbit?cafile=ca.pem", "with amqps:// only"),
        ("amqps://rabbit?keyfile=key.pem", "certfile="),
        ("amqps://rabbit?no_verify_ssl=yes", "0 or 1; got 'yes'"),
        ("amqp://rabbit?auth=magic", "plain, external; got 'magic'"),
    ],
)
def test_a_url_of_no_use_is_refused(url: str | list[str], words: str) -> None:
    """What a URL says wrongly is named, with what would be right."""
    with pytest.raises(ConfigurationError) as caught:
        read_urls(url)
    assert words in str(caught.value)


def test_a_password_is_in_no_text() -> None:
    """What a node is called in messages has no password in it."""
    (target,) = read_urls("amqp://me:secret@rabbit/shop")
    assert target.name == "rabbit:5672 (virtual host 'shop')"


def test_a_wrong_url_does_not_show_its_password() -> None:
    """What is said of a wrong URL has no password in it."""
    for url in (
        "http://me:secret@rabbit",
        "amqp://me:secret@rabbit:port",
        "amqp://me:secret@rabbit?x=1",
        "amqp://me:secret@[::1",
    ):
        with pytest.raises(ConfigurationError) as caught:
            read_urls(url)
        assert "secret" not in f"{caught.value} {caught.value.__cause__}"


def test_the_usual_heartbeat() -> None:
    """A URL's own heartbeat comes before the usual one, which depends on whether there is a store."""
    targets = read_urls(["amqp://one", "amqp://two?heartbeat=5"], heartbeat=15)
    assert [target.heartbeat for target in targets] == [15, 5]
