"""The faults: what the server's errors, and those of the way to it, mean for what comes next."""

import ssl
from typing import TypeAlias

from aiormq.exceptions import (
    AMQPError,
    AuthenticationError,
    ChannelAccessRefused,
    ChannelInvalidStateError,
    ChannelNotFoundEntity,
    ChannelPreconditionFailed,
    ConnectionClosed,
    ConnectionNotAllowed,
    IncompatibleProtocolError,
    ProbableAuthenticationError,
    ProtocolSyntaxError,
)
from pamqp.exceptions import PAMQPException

from asyncq.backoff import Backoff
from asyncq.errors import BrokerUnavailable, ConfigurationError

FAULTS = (AMQPError, PAMQPException, ChannelInvalidStateError, OSError, EOFError)
"""All that can go wrong on the way, and all that the server can say. (The builtin TimeoutError is an OSError.)"""

Mapped: TypeAlias = BrokerUnavailable | ConfigurationError


class NodeDown(BrokerUnavailable):
    """A queue that has one node only is out of reach: the server says that this node is down."""


class Silence(BrokerUnavailable):
    """The server answers, but says nothing of a queue: its node is down, or has yet to load it."""


_WRONG = (
    *(AuthenticationError, ProbableAuthenticationError, IncompatibleProtocolError, ProtocolSyntaxError),
    *(ChannelAccessRefused, ChannelNotFoundEntity, ChannelPreconditionFailed),
    ssl.SSLCertVerificationError,
)
_REFUSALS = (403, 530)
_PASSING_WORDS = ("limit (", "is down", "timed out")
"""Of refusals that do not last: a user or a virtual host has too many connections, a virtual host starts, and a
delivery was not acknowledged for longer than `consumer_timeout` allows (a channel's 406, like any mismatch)."""
_OTHER_PROTOCOL = ("WRONG_VERSION_NUMBER", "UNKNOWN_PROTOCOL", "HTTP_REQUEST")

_SOON = Backoff(delay=0.1, max_delay=2.0)
_TURNED_AWAY = Backoff(delay=0.5, max_delay=5.0)


def is_wrong(error: BaseException) -> bool:
    """Say whether the program, the URL or the server's settings must change before another try can help."""
    if isinstance(error, ConfigurationError):
        return True
    if any(word in str(error) for word in _PASSING_WORDS):
        return False
    if isinstance(error, ssl.SSLError) and any(word in str(error) for word in _OTHER_PROTOCOL):
        return True
    if isinstance(error, ConnectionClosed) and error.args[0] in _REFUSALS:
        return True
    return isinstance(error, (*_WRONG, ConnectionNotAllowed))


def is_node_down(error: BaseException) -> bool:
    """Say whether the server has a queue, and that the node is down where it is."""
    return isinstance(error, ChannelNotFoundEntity) and "is down" in str(error)


def mapped(wanted: str, address: str, error: BaseException) -> Mapped:
    """Return what to raise in the place of an error; whoever raises it keeps the error as its cause.

    Args:
        wanted: what was tried, to say so: "open a channel".
        address: of whom.
        error: what a client library, or the system, has raised.
    """
    if is_node_down(error):
        return NodeDown(f"RabbitMQ at {address} cannot {wanted} now: {explained(error)}")
    if is_wrong(error):
        return ConfigurationError(f"RabbitMQ at {address} refused to {wanted}: {explained(error)}")
    return BrokerUnavailable(f"RabbitMQ at {address} does not answer; tried to {wanted}. {explained(error)}")


def explained(error: BaseException) -> str:
    """Return what an error says, in words: the server's own where it has said something."""
    if isinstance(error, (BrokerUnavailable, ConfigurationError)):
        return str(error)
    if isinstance(error, AuthenticationError) and len(error.args) == 2:
        return f"It lets nobody in by {error.args[1]}, only by {error.args[0]}."
    words = [part for part in error.args if isinstance(part, str) and part]
    if isinstance(error, AMQPError) and words:
        return words[-1]
    return f"{type(error).__name__}: {error}" if str(error) else f"{type(error).__name__}."


def pauses(error: BaseException) -> Backoff:
    """Return the pauses between tries to connect after such an error.

    A connection costs the server some milliseconds, and a refused one a line in its log. So it is asked less often than
    another server would be, and every few seconds while it has something against us.
    """
    return _TURNED_AWAY if is_wrong(error) else _SOON
