"""Inbound frames: deliveries and confirms are read, and aiormq gets all the rest."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pamqp.body import ContentBody
from pamqp.commands import Basic, Channel
from pamqp.frame import marshal
from pamqp.header import ContentHeader
from pamqp.heartbeat import Heartbeat

from asyncq.rabbitmq.inbound import Deliveries, Inbound, Outcomes, Properties, Taker

OURS, THEIRS = 3, 4


class Sent(NamedTuple):
    """A delivery as a server sends it."""

    consumer: str
    tag: int
    is_redelivered: bool
    properties: Properties
    body: bytes

    def frames(self, channel: int, frame_size: int) -> list[bytes]:
        """Return its frames."""
        id, headers, priority, expiration = self.properties
        properties = Basic.Properties(
            delivery_mode=2,
            message_id=id or None,
            headers=dict(headers) if headers else None,
            priority=priority or None,
            expiration=expiration,
        )
        method = Basic.Deliver(self.consumer, self.tag, self.is_redelivered, "exchange", "key")
        parts = [self.body[start : start + frame_size] for start in range(0, len(self.body), frame_size)]
        return [
            marshal(method, channel),
            marshal(ContentHeader(body_size=len(self.body), properties=properties), channel),
            *(marshal(ContentBody(part), channel) for part in parts),
        ]


headers: st.SearchStrategy[Mapping[str, Any] | None] = st.none() | st.dictionaries(
    st.text("abc-", min_size=1, max_size=8), st.integers(0, 2**31) | st.booleans(), min_size=1, max_size=3
)
properties = st.builds(
    Properties, st.text("0123:äb", max_size=20), headers, st.integers(0, 9), st.none() | st.just("60000")
)
deliveries = st.builds(Sent, st.text("0123", max_size=3), st.integers(1, 2**60), st.booleans(), properties, st.binary())
others = st.sampled_from(
    [
        marshal(Heartbeat(), 0),
        marshal(Basic.QosOk(), OURS),
        marshal(Basic.Ack(7), THEIRS),
        b"".join(Sent("x", 9, False, Properties("1:theirs"), b"body").frames(THEIRS, 100)),
    ]
)


class Heard:
    """What a taker of a channel has told."""

    def __init__(self) -> None:
        self.arrived: list[Sent] = []
        self.events: list[str] = []
        self.taker = Deliveries(
            lambda *parts: self.arrived.append(Sent(*parts)),
            lambda consumer: self.events.append(f"{consumer} cancelled"),
            lambda: self.events.append("closed"),
        )


async def read_all(data: bytes, chunk: int, taker: Taker, *, sign_of_life: float = 60) -> bytes:
    """Feed bytes in chunks, and return what is left to aiormq, which reads as it does."""
    reader = asyncio.StreamReader()
    inbound = Inbound(reader, sign_of_life=sign_of_life)
    inbound.takers[OURS] = taker
    for start in range(0, len(data), chunk):
        reader.feed_data(data[start : start + chunk])
    reader.feed_eof()
    left = b""
    with suppress(asyncio.IncompleteReadError):  # the last ones may all have been ours
        while not inbound.at_eof():
            head = await inbound.readexactly(1)
            head += await inbound.readexactly(6)
            left += head + await inbound.readexactly(int.from_bytes(head[3:]) + 1)
    return left


@given(st.lists(deliveries | others, max_size=8), st.integers(1, 400), st.integers(1, 50))
def test_deliveries_are_put_together(sent: Sequence[Sent | bytes], chunk: int, frame_size: int) -> None:
    """However the stream is cut, deliveries of our channel arrive whole and in order, and aiormq reads all others."""
    pieces = [b"".join(each.frames(OURS, frame_size)) if isinstance(each, Sent) else each for each in sent]
    heard = Heard()
    left = asyncio.run(read_all(b"".join(pieces), chunk, heard.taker))
    assert heard.arrived == [each for each in sent if isinstance(each, Sent)]
    assert left == b"".join(each for each in sent if isinstance(each, bytes))


async def test_frames_of_another_channel_may_come_between() -> None:
    """The content of a delivery may be interrupted by frames of other channels."""
    heard = Heard()
    sent = Sent("1", 5, True, Properties("7:a"), b"abcdef")
    other = marshal(Basic.Ack(7), THEIRS)
    data = other.join(sent.frames(OURS, 2))
    assert await read_all(data, 1000, heard.taker) == other * (len(sent.frames(OURS, 2)) - 1)
    assert heard.arrived == [sent]


async def test_what_aiormq_has_asked_for_is_left_to_it() -> None:
    """A message that was got, on the same channel, is not taken for a delivery."""
    heard = Heard()
    sent = Sent("1", 5, False, Properties("7:a"), b"body")
    got = marshal(Basic.GetOk(6, False, "", "key", 0), OURS) + b"".join(sent.frames(OURS, 100)[1:])
    assert await read_all(got + b"".join(sent.frames(OURS, 100)) + got, 1000, heard.taker) == got * 2
    assert heard.arrived == [sent]


@pytest.mark.parametrize(
    ("frame", "event"),
    [(Basic.Cancel("consumer-1", True), "consumer-1 cancelled"), (Channel.Close(406, "", 0, 0), "closed")],
)
async def test_the_end_is_told_and_left_to_aiormq(frame: Any, event: str) -> None:
    """The end of a consumer, or of the channel, is told before aiormq reads of it."""
    heard = Heard()
    data = marshal(frame, OURS)
    assert await read_all(data, 1000, heard.taker) == data
    assert heard.events == [event]


@given(st.lists(st.sampled_from(["ack", "acks", "nack", "return", "other"]), max_size=8), st.integers(1, 60))
def test_what_becomes_of_published_messages_is_read(kinds: Sequence[str], chunk: int) -> None:
    """Confirms, refusals and returned messages of our channel are told in order, and aiormq reads all others."""
    told: list[object] = []
    returned = marshal(Basic.Return(312, "NO_ROUTE", "", "key"), OURS)
    returned += b"".join(Sent("", 0, False, Properties("7:a"), b"body").frames(OURS, 3)[1:])
    frames = {
        "ack": marshal(Basic.Ack(5), OURS),
        "acks": marshal(Basic.Ack(2**40, True), OURS),
        "nack": marshal(Basic.Nack(6, False, False), OURS),
        "return": returned,
        "other": marshal(Basic.QosOk(), OURS),
    }
    expected = {"ack": (5, False, True), "acks": (2**40, True, True), "nack": (6, False, False), "return": "7:a"}
    taker = Outcomes(lambda *outcome: told.append(outcome), told.append)
    left = asyncio.run(read_all(b"".join(frames[kind] for kind in kinds), chunk, taker))
    assert told == [expected[kind] for kind in kinds if kind != "other"]
    assert left == frames["other"] * kinds.count("other")


async def test_aiormq_sees_a_heartbeat_while_all_is_taken() -> None:
    """Who takes everything shows that the server is there: else aiormq gives the connection up."""
    heard = Heard()
    sent = Sent("1", 5, False, Properties("7:a"), b"body")
    left = await read_all(b"".join(sent.frames(OURS, 100)) * 2, 1000, heard.taker, sign_of_life=0)
    assert heard.arrived == [sent, sent]
    assert left == marshal(Heartbeat(), 0) * 6
