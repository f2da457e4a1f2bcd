"""Groups where queues know none."""

import pytest

from asyncq import MemoryBroker, NotSupported
from tests.forgetful import ForgetfulBroker


def _user(user_id: int, **_: object) -> int:
    return user_id


async def _send(user_id: int) -> None: ...


def test_a_task_with_groups() -> None:
    """A task with groups is refused when it is declared, with what there is instead."""
    with pytest.raises(NotSupported, match=r"'mail.send' with group=.*queue of their own"):
        ForgetfulBroker().task(name="mail.send", group=_user)(_send)


async def test_a_message_with_a_group() -> None:
    """A message with a group, of a task that was declared elsewhere, is refused: it would lose its turn in silence."""
    message = MemoryBroker().task(name="mail.send", group=_user)(_send).message(7)
    async with ForgetfulBroker() as broker:
        with pytest.raises(NotSupported, match="know no groups"):
            await broker.kiq_many([message])
