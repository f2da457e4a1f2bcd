"""Nothing is lost, and no run is without its reason, while processes, server and network are under fire."""

from pathlib import Path

import pytest

from tests.chaos.driver import Settings, run


@pytest.mark.timeout(200)
@pytest.mark.parametrize(
    "settings",
    [
        Settings("redis", tasks=1_500, faults=20, seed=1, seconds=45),
        Settings("sqlite", tasks=1_500, faults=20, seed=2, seconds=45, processes=2),
    ],
    ids=str,
)
async def test_under_fire(settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each confirmed call ends once, in one way for all who see it; a fault explains each repeat; nothing is left."""
    with capsys.disabled():
        print(f"\nmake chaos ARGS='{settings}'", flush=True)
    report = await run(settings, tmp_path)
    assert not report.wrong, "\n".join([report.table, *report.wrong])
