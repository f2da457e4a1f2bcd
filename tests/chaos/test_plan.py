"""The plans of the chaos suite: a seed says everything."""

import time
from itertools import pairwise

import pytest

from asyncq import MemoryBroker, RabbitMQBroker
from tests.chaos.calls import GROUPED, GROUPS, KEYS, OFTEN, RARE, UNIQUE, Kind, calls_of, kinds_for
from tests.chaos.faults import KINDS, SECONDS, plan
from tests.chaos.ticks import Ticks


@pytest.mark.parametrize("broker", KINDS)
def test_a_seed_gives_one_plan(broker: str) -> None:
    """The same seed gives the same faults and calls, another one gives others."""
    assert plan(1, 100, 60, broker) == plan(1, 100, 60, broker) != plan(2, 100, 60, broker)
    assert calls_of(1, 1_000) == calls_of(1, 1_000) != calls_of(2, 1_000)


@pytest.mark.parametrize("broker", KINDS)
def test_each_kind_comes(broker: str) -> None:
    """Each kind of fault comes before any comes again, in time order, and for as long as its kind may last."""
    kinds = KINDS[broker]
    faults = plan(7, 2 * len(kinds), 60, broker)
    for half in (faults[: len(kinds)], faults[len(kinds) :]):
        assert sorted(fault.kind for fault in half) == sorted(kinds)
    assert [fault.at for fault in faults] == sorted(fault.at for fault in faults)
    assert 0 <= faults[0].at <= faults[-1].at < 60
    for fault in faults:
        least, most = SECONDS.get(fault.kind, (0, 0))
        assert least <= fault.seconds <= most


def test_each_rare_kind_of_call_comes() -> None:
    """Few calls have each rare kind among them, and many have it as often as it is said to be."""
    assert {call.kind for call in calls_of(1, 50)} >= set(RARE)
    many = [call.kind for call in calls_of(1, 20_000)]
    assert {kind: many.count(kind) for kind in RARE} == {kind: 20_000 // one_in for kind, one_in in RARE.items()}


def test_a_broker_is_asked_for_what_it_can_do() -> None:
    """Kinds that need what a broker lacks do not come, and all others do; keys take turns."""
    assert kinds_for(MemoryBroker.capabilities) == set(Kind)
    kinds = kinds_for(RabbitMQBroker().capabilities)
    calls = calls_of(1, 2_000, kinds)
    assert {call.kind for call in calls} == {*RARE, *OFTEN} & set(kinds)
    assert not (UNIQUE | GROUPED) & set(kinds)
    assert {call.key for call in calls_of(1, 2_000) if call.kind in UNIQUE} == set(KEYS)


def test_groups_come_and_go() -> None:
    """Calls have groups for a while, and then none have; of those that have, each group comes."""
    grouped = [call for call in calls_of(1, 2_000) if call.kind in GROUPED]
    assert {call.group for call in grouped} == {"", *GROUPS}
    changes = sum(bool(one.group) != bool(other.group) for one, other in pairwise(grouped))
    assert changes == 9
    assert not any(call.group for call in calls_of(1, 2_000) if call.kind not in GROUPED)


def test_the_ids_of_ticks() -> None:
    """The ticks of a schedule are known before it ticks."""
    begin = time.monotonic()
    numbers = [int(id.removeprefix("ticks@")) for id in Ticks(begin, 3).calls]
    assert [number - numbers[0] for number in numbers] == [0, 1_000, 2_000]
    assert numbers[0] == pytest.approx(1_000 * time.time(), abs=10_000)
