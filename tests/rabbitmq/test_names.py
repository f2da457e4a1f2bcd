"""The names of what asyncq has in RabbitMQ."""

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncq.errors import ConfigurationError
from asyncq.rabbitmq import delays
from asyncq.rabbitmq.names import Names

WORDS = st.text("aq.-:", min_size=1, max_size=8).filter(lambda word: ":" not in word)


@given(st.sets(st.tuples(WORDS, WORDS), min_size=2, max_size=4))
def test_no_name_has_two_meanings(pairs: set[tuple[str, str]]) -> None:
    """Whatever namespaces and queues are called, no name of one is a name of another."""
    every = [all_names(namespace, queue) for namespace, queue in pairs]
    for (namespace, queue), names in zip(pairs, every, strict=True):
        assert len(names) == 5, (namespace, queue)
    for one, other in combinations(every, 2):
        assert not one & other


def all_names(namespace: str, queue: str) -> set[str]:
    """Return the names of queues that this pair could have."""
    names = Names(namespace)
    waiting = {names.queue(queue), names.dead_letters(queue)}
    return waiting | {f"{name}|{queue}" for name in (names.delay(7), names.reply("7"), names.ready)}


@pytest.mark.parametrize(("namespace", "limit"), [("n", 199), ("n" * 100, 140)])
def test_what_is_too_long_for_the_server_is_refused(namespace: str, limit: int) -> None:
    """A queue's name may be as long as all names and routing keys stay within 255 bytes, and no longer."""
    names = Names(namespace)
    queue = "q" * limit
    longest = (names.dead_letters(queue), delays.route(1).key(queue), delays.due_pattern(queue))
    assert max(map(len, longest)) == 255
    with pytest.raises(ConfigurationError, match=f"may have {limit} characters"):
        names.queue("q" * (limit + 1))


@pytest.mark.parametrize("namespace", ["", "a:b", "a b", "ä"])
def test_a_namespace_that_could_be_mistaken_is_refused(namespace: str) -> None:
    """A namespace is made of the characters of queues' names."""
    with pytest.raises(ConfigurationError, match="namespace"):
        Names(namespace)
