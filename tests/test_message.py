"""The envelope."""

import orjson
import pytest

from asyncq.errors import DecodeError
from asyncq.message import Message, amended, decode_message, encode_message, new_id, revived


def test_round_trip() -> None:
    """A message comes back equal, and what has its default does not travel."""
    message = Message(v=1, id="a", task="t", args=[1, "x"], kwargs={"k": None}, labels={"team": "growth"})
    body = encode_message(message)
    assert decode_message(body) == message
    assert "priority" not in orjson.loads(body)


def test_unknown_fields_survive_a_retry() -> None:
    """A field of a newer producer is ignored, and kept when the message is changed."""
    body = b'{"v":1,"id":"a","task":"t","args":[],"from_the_future":{"x":1}}'
    assert decode_message(body).id == "a"
    later = orjson.loads(amended(body, attempt=2))
    assert later["from_the_future"] == {"x": 1}
    assert decode_message(amended(body, attempt=2)).attempt == 2


def test_another_life() -> None:
    """A message that is revived is due at once and has nothing of its former life; all else stays, to the byte."""
    body = (
        b'{"v":1,"id":"a","task":"t","args":[1.0,12345678901234567890],"priority":3,"attempt":5,"expires_ms":9,'
        b'"due_ms":8,"enqueued_ms":7,"history":[{"attempt":1}],"from_the_future":{"x":1}}'
    )
    message = decode_message(revived(body, due_ms=100))
    assert (message.attempt, message.expires_ms, message.due_ms, message.enqueued_ms) == (0, 0, 100, 7)
    assert message.priority == 3
    assert b'"args":[1.0,12345678901234567890]' in revived(body, due_ms=100)
    assert orjson.loads(revived(body, due_ms=100))["from_the_future"] == {"x": 1}
    assert b"history" not in revived(body, due_ms=100)


@pytest.mark.parametrize("body", [b"", b"\xff no message", b"[1]", b"{"])
def test_what_is_no_message_is_revived_as_it_is(body: bytes) -> None:
    """Bytes that are no message stay as they are."""
    assert revived(body, due_ms=100) == body


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff\xfe",
        b"[]",
        b'{"v":1}',
        b'{"v":1,"id":3,"task":"t"}',
        b'{"v":1,"id":"a","task":"t","args":{}}',
        b"[" * 100_000,
    ],
)
def test_what_is_no_message(body: bytes) -> None:
    """Bytes that are no message raise DecodeError, whatever they are."""
    with pytest.raises(DecodeError, match="no asyncq message"):
        decode_message(body)


@pytest.mark.parametrize("fields", ['"task":"t"', '"call":["t",1]', '"task":{"name":"t"},"args":{"a":1}'])
def test_a_later_protocol(fields: str) -> None:
    """A message of a later protocol says what to upgrade, however little of it is known here."""
    with pytest.raises(DecodeError, match=r"speaks protocol 2.*Upgrade the workers"):
        decode_message(f'{{"v":2,"id":"a",{fields}}}'.encode())


def test_ids_sort_by_time() -> None:
    """Generated ids are unique, and sort by the millisecond in which they were made."""
    ids = [new_id() for _ in range(10_000)]
    assert len(set(ids)) == len(ids)
    assert [id[:11] for id in ids] == sorted(id[:11] for id in ids)
