"""Acknowledgements: never one that the server objects to, and none forgotten."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pamqp.commands import Basic
from pamqp.frame import marshal

from asyncq.rabbitmq.acknowledging import Acknowledgement, Tags


class ServerRule:
    """What the server does with acknowledgements on a channel (`rabbit_channel:collect_acks`)."""

    def __init__(self, delivered: int) -> None:
        self.outstanding = list(range(1, delivered + 1))

    def acknowledge(self, acknowledgement: Acknowledgement) -> None:
        """Forget what is meant; it closes the channel for a tag that is not outstanding, in either way."""
        tag, is_multiple = acknowledgement
        assert tag in self.outstanding, f"unknown delivery tag {tag}"
        self.outstanding = [each for each in self.outstanding if (each > tag if is_multiple else each != tag)]


@st.composite
def turns(draw: st.DrawFn) -> list[list[int]]:
    """Some of the tags from 1 on, in any order, divided into turns of the loop."""
    delivered = draw(st.integers(1, 40))
    order = draw(st.permutations(range(1, delivered + 1)))
    settled = order[: draw(st.integers(0, delivered))]
    cuts = sorted(draw(st.lists(st.integers(0, len(settled)), max_size=6)))
    return [list(settled[start:end]) for start, end in zip([0, *cuts], [*cuts, len(settled)], strict=True)]


@given(turns())
def test_all_that_is_settled_is_acknowledged_and_nothing_else(settled: Sequence[Sequence[int]]) -> None:
    """In whatever order and turns tags are settled, the server forgets just those, and objects to nothing."""
    tags, server = Tags(), ServerRule(40)
    done: set[int] = set()
    for turn in settled:
        for tag in turn:
            tags.settle(tag)
        for acknowledgement in tags.take():
            server.acknowledge(acknowledgement)
        done.update(turn)
        assert set(server.outstanding) == set(range(1, 41)) - done


@given(st.integers(1, 100), st.integers(0, 20))
def test_a_prefix_is_one_acknowledgement(first: int, later: int) -> None:
    """Whatever has been settled in order is said in one."""
    tags = Tags()
    for tag in range(1, first + 1):
        tags.settle(tag)
    assert tags.take() == [Acknowledgement(first, first > 1)]
    for tag in range(first + 1, first + later + 1):
        tags.settle(tag)
    assert tags.take() == ([Acknowledgement(first + later, later > 1)] if later else [])
    assert tags.take() == []


@pytest.mark.parametrize("is_multiple", [True, False])
def test_an_acknowledgement_is_that_of_the_protocol(is_multiple: bool) -> None:
    """It is, byte by byte, what pamqp makes of it."""
    expected = marshal(Basic.Ack(delivery_tag=2**40 + 1, multiple=is_multiple), 7)
    assert Acknowledgement(2**40 + 1, is_multiple).frame(7) == expected
