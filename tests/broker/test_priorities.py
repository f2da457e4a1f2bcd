"""Priorities that a queue lacks."""

import pytest

from asyncq import ConfigurationError, MemoryBroker, NotSupported, PublishRefused, Queue
from tests.forgetful import ForgetfulBroker


def test_a_task_with_a_priority() -> None:
    """Where queues have priorities only on request, a task that wants one is refused when it is declared."""
    broker = ForgetfulBroker(queues=[Queue("mail", max_priority=5), Queue("plain")])
    for queue in ("default", "plain"):
        with pytest.raises(NotSupported, match=rf'Queue\("{queue}", max_priority=9\)'):
            broker.task(queue=queue, priority=1)(_nothing)
    with pytest.raises(ConfigurationError, match="priorities up to 5"):
        broker.task(queue="mail", priority=6)(_nothing)
    assert broker.task(queue="mail", priority=5)(_nothing).declared.priority == 5


async def test_a_call_with_a_priority() -> None:
    """A single call that wants a priority is refused when it is published."""
    broker = ForgetfulBroker(queues=[Queue("mail", max_priority=5)])
    task = broker.task(_nothing)
    with pytest.raises(NotSupported, match=r'Queue\("default", max_priority=9\)'):
        await task.options(priority=1).kiq()
    with pytest.raises(PublishRefused, match="priorities up to 5"):
        await task.options(queue="mail", priority=6).kiq()
    assert (await task.options(queue="mail", priority=5).kiq()).is_new
    await broker.close()


def test_priorities_of_other_brokers() -> None:
    """Where all queues have priorities, None is all of them."""
    broker = MemoryBroker(queues=[Queue("mail", max_priority=3), Queue("plain")])
    assert broker.task(queue="plain", priority=9)(_nothing).declared.priority == 9
    with pytest.raises(ConfigurationError, match="priorities up to 3"):
        broker.task(queue="mail", priority=4)(_nothing)
    with pytest.raises(ConfigurationError, match="0 to 9, or None"):
        Queue("mail", max_priority=10)


async def _nothing() -> None: ...
