"""What a run on RabbitMQ has left behind is found."""

from pathlib import Path

from tests.chaos.rabbitmq_site import NAMES, QUEUE
from tests.chaos.sites import site_of


async def test_what_is_left_is_found(tmp_path: Path) -> None:
    """Messages, queues and keys are found that should not be there, and nothing else is."""
    with site_of("rabbitmq", tmp_path) as site:
        async with site.broker() as broker:

            @broker.task
            async def late() -> None: ...

            assert await site.is_drained()
            assert await site.left_behind() == ""
            await late.kiq()
            await late.options(queue="strange").kiq()
            await (await broker.open()).transport.counts(["default"])  # which waits until both are noted
        assert not await site.is_drained()
        left = await site.left_behind()
    strange = NAMES.queue("strange")
    assert f"queues that are not empty: {{'{QUEUE}': 1, '{strange}': 1}}" in left
    assert f"queues of no documented name: ['{strange}', '{strange}:dead']" in left
    assert "{chaos}:q:strange:messages" in left
    assert "exchanges" not in left
