"""What errors of the client library mean."""

import ssl

import aiormq
import pytest
from pamqp.exceptions import UnmarshalingException

from asyncq.errors import BrokerUnavailable, ConfigurationError
from asyncq.rabbitmq.faults import FAULTS, explained, is_wrong, mapped, pauses

PASSING = [
    ConnectionRefusedError(111, "Connection refused"),
    TimeoutError(),
    EOFError("cut off"),
    aiormq.AMQPConnectionError("Server connection reset"),
    aiormq.ConnectionClosed(320, "CONNECTION_FORCED - Node was put into maintenance mode"),
    aiormq.ConnectionClosed(
        530, "NOT_ALLOWED - access to vhost '/' refused for user 'me': connection limit (1) is reached"
    ),
    aiormq.ConnectionInternalError("INTERNAL_ERROR - access to vhost '/' refused for user 'me': vhost '/' is down"),
    aiormq.ChannelPreconditionFailed("PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out."),
    aiormq.ChannelInvalidStateError("closed"),
    UnmarshalingException("frame", "reason"),
]
WRONG = [
    aiormq.ConnectionClosed(403, "ACCESS_REFUSED - Login was refused"),
    aiormq.ConnectionClosed(530, "NOT_ALLOWED - vhost nowhere not found"),
    aiormq.AuthenticationError(["PLAIN"], ["EXTERNAL"]),
    aiormq.ChannelAccessRefused("ACCESS_REFUSED - write access to exchange 'x' refused"),
    aiormq.ChannelPreconditionFailed("PRECONDITION_FAILED - inequivalent arg 'x-delivery-limit' for queue 'q'"),
    ssl.SSLCertVerificationError(1, "certificate verify failed"),
]


@pytest.mark.parametrize("error", PASSING, ids=repr)
def test_what_passes_is_unavailable(error: Exception) -> None:
    """What time or another connection may mend is BrokerUnavailable."""
    assert isinstance(error, FAULTS)
    assert isinstance(mapped("publish", "host:1", error), BrokerUnavailable)


@pytest.mark.parametrize("error", WRONG, ids=repr)
def test_what_stays_is_a_configuration_error(error: Exception) -> None:
    """What somebody has to mend is ConfigurationError, and asked about less often."""
    assert isinstance(error, FAULTS)
    assert isinstance(mapped("publish", "host:1", error), ConfigurationError)
    assert pauses(error).max_delay > pauses(TimeoutError()).max_delay


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (TimeoutError(), "TimeoutError."),
        (ConnectionRefusedError(111, "Connection refused"), "ConnectionRefusedError: [Errno 111] Connection refused"),
        (aiormq.ConnectionClosed(320, "CONNECTION_FORCED - bye"), "CONNECTION_FORCED - bye"),
        (aiormq.AuthenticationError(["PLAIN"], ["EXTERNAL"]), "It lets nobody in by ['EXTERNAL'], only by ['PLAIN']."),
        (BrokerUnavailable("As it is."), "As it is."),
    ],
)
def test_an_error_is_told_in_words(error: Exception, words: str) -> None:
    """An error is told as the server told it, or by its type."""
    assert explained(error) == words


def test_our_own_errors_keep_their_meaning() -> None:
    """A ConfigurationError stays one."""
    assert is_wrong(ConfigurationError("wrong"))
    assert not is_wrong(BrokerUnavailable("away"))
