"""Frames of a publication, beside those that pamqp makes."""

from collections.abc import Mapping
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from pamqp.body import ContentBody
from pamqp.commands import Basic
from pamqp.frame import marshal, unmarshal
from pamqp.header import ContentHeader

from asyncq.rabbitmq.frames import MAX_ID, Message, call_id, publication

names = st.text(st.characters(codec="utf-8"), max_size=60)
exchanges = st.from_regex(r"[A-Za-z0-9._-]{0,60}", fullmatch=True)
headers = st.none() | st.dictionaries(names, st.integers(0, 2**40) | names | st.booleans(), max_size=3)
channels = st.integers(1, 2047)


@given(exchanges, names, st.binary(max_size=50), names, headers, st.integers(0, 255), st.integers(0, 2**32), channels)
def test_frames_are_those_of_the_protocol(
    exchange: str,
    key: str,
    body: bytes,
    id: str,
    headers: Mapping[str, Any] | None,
    priority: int,
    expiration_ms: int,
    channel: int,
) -> None:
    """A message becomes, byte by byte, the frames that pamqp makes of it."""
    message = Message(exchange, key, body, id, headers, priority, expiration_ms)
    pieces = publication(message, 7, channel=channel, max_size=0)
    properties = Basic.Properties(
        delivery_mode=2,
        message_id=f"7:{id}",
        priority=priority or None,
        expiration=str(expiration_ms) if expiration_ms else None,
        headers=dict(headers) if headers else None,
    )
    expected = [
        marshal(Basic.Publish(exchange=exchange, routing_key=key, mandatory=True), channel),
        marshal(ContentHeader(body_size=len(body), properties=properties), channel),
        *([marshal(ContentBody(body), channel)] if body else []),
    ]
    assert b"".join(pieces) == b"".join(expected)


def test_a_large_body_is_divided() -> None:
    """A body that is longer than a frame may be goes in several, none of them empty."""
    pieces = publication(Message("", "key", b"abcdefgh", ""), 7, channel=1, max_size=4)
    expected = [marshal(ContentBody(part), 1) for part in (b"abcd", b"efgh")]
    assert b"".join(pieces[2:]) == b"".join(expected)


@given(st.text(st.characters(codec="utf-8"), max_size=200), headers)
def test_the_id_of_a_call_is_found_again(id: str, headers: Mapping[str, Any] | None) -> None:
    """A call's id arrives whole, however long: in the message's own id, or in a header where it does not fit."""
    content = publication(Message("", "key", b"", id, headers), 2**40, channel=1, max_size=0)[1]
    _, _, header = unmarshal(content)
    assert isinstance(header, ContentHeader)
    told = header.properties.message_id or ""
    assert len(told.encode()) <= MAX_ID
    assert call_id(told, header.properties.headers) == id
