"""The ranking against a sorted list."""

from hypothesis import given
from hypothesis import strategies as st

from asyncq.memory.ranking import Ranking

STEPS = st.lists(st.tuples(st.sampled_from(["add", "discard", "pop"]), st.integers(0, 20), st.integers(-5, 5)))


@given(STEPS)
def test_items_come_out_by_key_and_then_by_serial(steps: list[tuple[str, int, int]]) -> None:
    """What comes out is what a sorted list would give, whatever was discarded or moved before."""
    ranking = Ranking[int]()
    places: dict[int, tuple[int, int]] = {}
    for serial, (step, item, key) in enumerate(steps):
        if step == "add":
            ranking.add(item, key, serial)
            places[item] = (key, serial)
        elif step == "discard":
            ranking.discard(item)
            places.pop(item, None)
        else:
            first = min(places, key=lambda item: places[item], default=None)
            assert ranking.pop() == first
            if first is not None:
                del places[first]
        assert len(ranking) == len(places)
    assert ranking.pop_through(100) == sorted(places, key=lambda item: places[item])


def test_discarded_items_do_not_pile_up() -> None:
    """A million times added and discarded leaves next to nothing behind."""
    ranking = Ranking[int]()
    for serial in range(100_000):
        ranking.add(serial, 0, serial)
        ranking.discard(serial)
    assert len(ranking) == 0
    assert len(ranking._heap) < 100  # what is bounded can't be seen from outside
