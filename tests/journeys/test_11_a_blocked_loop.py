"""A blocked loop: what the server has answered meanwhile counts as answered."""

import asyncio
import time

import pytest

from asyncq.turns import pass_turns
from tests.journeys.conftest import MakeBroker

TIMEOUT = 2.0


@pytest.fixture(params=("redis", "rabbitmq"))
def kind(request: pytest.FixtureRequest) -> str:
    """Those whose server may be slow to answer."""
    return request.param


@pytest.mark.usefixtures("rabbitmq_server")
async def test_code_that_blocks_is_not_taken_for_a_silent_server(make_broker: MakeBroker) -> None:
    """Something blocks the loop for longer than a command may take, while a call is published: it was confirmed."""
    async with make_broker(command_timeout=TIMEOUT) as broker:

        @broker.task
        async def add(a: int, b: int) -> int:
            return a + b

        await add.kiq(1, 2)
        while True:
            publishing = asyncio.create_task(add.kiq(3, 4))
            await pass_turns(10)
            if not publishing.done():  # else the server was quick
                break
        time.sleep(1.5 * TIMEOUT)  # noqa: ASYNC251 - the fault that is tested
        assert (await publishing).id
