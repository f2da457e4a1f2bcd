"""Two releases side by side: a worker that does not know all that newer publishers send."""

import json
from typing import Any

import pytest

from asyncq import Status, UnknownTask
from asyncq.store import CallKey
from asyncq.transport import Envelope
from tests.cli.programs import StartProgram
from tests.promises.effects import Effects
from tests.promises.publisher import Publisher, started, stopped
from tests.waiting import wait_until

NEWER_FIELDS = {"colour": {"red": [1.0, 10**30]}, "overrides": {"shade": "dark", "retry": {"delay": 60}}}

NEWER = """

@broker.task
async def tomorrow() -> int:
    return os.getpid()
"""


async def test_an_older_worker(publisher: Publisher, effects: Effects, asyncq: StartProgram) -> None:
    """Fields that it does not know survive a retry; tasks and protocols go to the dead letters, and come back."""

    @publisher.broker.task(name="app:tomorrow")
    async def tomorrow() -> int: ...

    unknown = await tomorrow.kiq()
    await publish_raw(publisher, {"v": 1, "id": "fields", "task": "app:fail", "args": ["fields"], **NEWER_FIELDS})
    await publish_raw(publisher, {"v": 2, "id": "protocol", "task": "app:fail", "args": {"name": "x"}})
    effects.let_go_on("fields")
    older = await started(asyncq)

    with pytest.raises(UnknownTask, match="'app:tomorrow' is not registered here"):
        await unknown
    result = await publisher.broker.handle("protocol").result(timeout=5)
    assert result.status is Status.FAILED
    assert "Upgrade the workers before the producers." in str(result.error)
    session = await publisher.broker.open()
    letters = await session.transport.dead_letters("default")
    assert {letter.id for letter in letters} == {unknown.id, "protocol"}

    async def is_retrying() -> bool:
        return await publisher.broker.handle("fields").status() is Status.RETRYING

    await wait_until(is_retrying, "it waits for its retry")
    [sighting] = await session.store.look([CallKey("fields", "default")])
    assert sighting is not None
    body = json.loads(sighting.body or b"")
    assert (body["attempt"], {name: body[name] for name in NEWER_FIELDS}) == (1, NEWER_FIELDS)
    await stopped(older)

    [letter] = (await publisher.broker.dead.retry(error="UnknownTask")).ids
    assert letter == unknown.id
    newer = await started(asyncq, *effects.variant("newer", after=NEWER))
    assert await publisher.broker.handle(unknown.id) == newer.pid
    await stopped(newer)


async def publish_raw(publisher: Publisher, fields: dict[str, Any]) -> None:
    """Publish what another release might."""
    session = await publisher.broker.open()
    envelope = Envelope(fields["id"], "default", json.dumps(fields).encode())
    assert await session.transport.publish([envelope]) == [None]
