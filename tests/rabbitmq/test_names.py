"""The names of what asyncq has in RabbitMQ."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncq.errors import ConfigurationError
from asyncq.rabbitmq import delays
from asyncq.rabbitmq.names import Names

WORDS = st.text("aq.", min_size=1, max_size=5) | st.sampled_from(["q", "dead", "delay.7", "q.dead", "reply"])


@given(st.sets(st.tuples(WORDS, WORDS), max_size=5))
def test_no_name_has_two_meanings(pairs: set[tuple[str, str]]) -> None:
    """Whatever namespaces and queues are called, no name of a queue on the server is one of something else, too."""
    meanings: dict[str, tuple[str, ...]] = {}
    for namespace, queue in pairs:
        names = Names(namespace)
        for meaning, name in (
            (("waiting", namespace, queue), names.queue(queue)),
            (("dead", namespace, queue), names.dead_letters(queue)),
            (("delay", namespace), names.rung(delays.Rung(1, 3))),
            (("urgent delay", namespace), names.rung(delays.Rung(1, 3, is_urgent=True))),
            (("reply", namespace, queue), names.reply(queue)),
            (("next reply", namespace, queue), names.reply(queue, 1)),
            (("stray", namespace), names.stray),
        ):
            assert meanings.setdefault(name, meaning) == meaning


@pytest.mark.parametrize(("namespace", "limit"), [("n", 227), ("n" * 100, 140)])
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
