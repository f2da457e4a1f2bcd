"""Nothing is lost, and no run is without its reason, while processes, server and network are under fire."""

from pathlib import Path

import pytest

from tests.chaos.driver import Settings, run


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    "settings",
    [
        Settings("redis", tasks=2_000, faults=30, seed=1, seconds=60),
        Settings("sqlite", tasks=2_000, faults=30, seed=2, seconds=60, processes=2),
        Settings("rabbitmq", tasks=2_000, faults=30, seed=3, seconds=60),
    ],
    ids=str,
)
async def test_under_fire(settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each confirmed call ends once, in one way for all who see it; a fault explains each repeat; nothing is left."""
    with capsys.disabled():
        print(f"\nmake chaos ARGS='{settings}'", flush=True)
    report = await run(settings, tmp_path)
    assert not report.wrong, "\n".join([report.table, *report.wrong])


async def test_a_hang_is_found(tmp_path: Path) -> None:
    """What has not ended in time is a failure that says what was waited for, and what each process said last."""
    report = await run(Settings("sqlite", tasks=200, faults=1, seed=1, seconds=4, patience=-4), tmp_path)
    hang = next(text for text in report.wrong if text.startswith("Not ended"))
    assert "Waiting until" in hang
    assert "the queue: Counts" in hang
    assert "== worker-0" in hang
    assert "was never confirmed" in "\n".join(report.wrong)
