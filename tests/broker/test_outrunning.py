"""Tasks that may run for longer than RabbitMQ waits for their end."""

from asyncq import RabbitMQBroker, Severity


async def nothing() -> None:
    """Do nothing."""


def test_tasks_that_take_too_long_are_named() -> None:
    """That tasks may take longer than consumer_timeout is a warning; that some have no limit, a note."""
    broker = RabbitMQBroker(consumer_timeout=60)
    for name, queue, timeout in (("slow", "a", 61), ("quick", "a", 60), ("other", "b", 100), ("endless", "a", None)):
        broker.task(name=name, queue=queue, timeout=timeout)(nothing)
    warning, note = broker.cautions(["a"])
    assert (warning.severity, note.severity) == (Severity.WARNING, Severity.NOTE)
    assert "60 s: slow (timeout 61 s). " in warning.text
    assert "(timeout=): endless. " in note.text


def test_where_a_store_keeps_them_nothing_is_said() -> None:
    """With a store a task may take as long as it wants."""
    broker = RabbitMQBroker(consumer_timeout=60, store="memory://")
    broker.task(name="slow", timeout=61)(nothing)
    assert broker.cautions(["default"]) == ()


def test_many_tasks_are_counted() -> None:
    """Some are named, and how many more there are is said."""
    broker = RabbitMQBroker()
    for number in range(11):
        broker.task(name=f"task-{number:02}")(nothing)
    (note,) = broker.cautions(["default"])
    assert ", task-07 and 3 more. " in note.text
