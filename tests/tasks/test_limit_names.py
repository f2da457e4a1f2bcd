"""What limits are called that were not given a name."""

import pytest

from asyncq import ConcurrencyLimit, ConfigurationError, MemoryBroker, RateLimit
from asyncq.limits import Kind, LimitId
from tests.working import working

SECOND, MINUTE = RateLimit(10, per=1), RateLimit(200, per=60)


async def work() -> None: ...


async def test_a_limit_without_a_name_is_its_tasks() -> None:
    """Of one limit the name is the task's, of several with its position; they are listed so."""
    broker = MemoryBroker()
    broker.task(name="mail.send", rate_limit=[SECOND, MINUTE], concurrency=ConcurrencyLimit(3))(work)
    broker.task(name="report", rate_limit=SECOND)(work)
    async with broker, working(broker):
        ids = [state.id for state in await broker.limit_states()]
    names = ["mail.send#1", "mail.send#2", "report"]
    assert ids == [*(LimitId(Kind.RATE, name) for name in names), LimitId(Kind.SLOTS, "mail.send")]


def test_no_other_limit_is_called_so() -> None:
    """Nobody shares the numbers of such a limit by chance: what it is called is no name."""
    broker = MemoryBroker()
    broker.task(name="t", rate_limit=[SECOND, MINUTE])(work)
    broker.task(name="other", rate_limit=RateLimit(7, per=5, name="t.1"))(work)
    broker.task(name="t.2", rate_limit=RateLimit(7, per=5))(work)
    with pytest.raises(ConfigurationError, match="without spaces and '#'; got 't#1'"):
        RateLimit(7, per=5, name="t#1")
    with pytest.raises(ConfigurationError, match="without spaces and '#'; got 't#1'"):
        broker.rate_limit("t#1", 7, per=5)
    with pytest.raises(ConfigurationError, match=r"Task 't#1', whose name its limit takes: name= .* without spaces"):
        broker.task(name="t#1", rate_limit=MINUTE)(work)
    broker.task(name="t#1", rate_limit=RateLimit(7, per=5, name="seven"))(work)
