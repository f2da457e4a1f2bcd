"""Uploads on their way to the disk."""

import os
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import pytest

from examples.fastapi_app.uploads import UploadTooLarge, remove_stale, shown_name, store_upload


async def chunks_of(chunks: Iterable[bytes], then: BaseException | None = None) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk
    if then is not None:
        raise then


async def test_chunks_become_a_file(tmp_path: Path) -> None:
    """The chunks are in the file in order, and its folder is made."""
    path = tmp_path / "new" / "x.csv"
    chunks = [bytes([number]) * 100_000 for number in range(9)]
    assert await store_upload(chunks_of(chunks), path, 900_000) == 900_000
    assert path.read_bytes() == b"".join(chunks)
    assert list(path.parent.iterdir()) == [path]


async def test_one_byte_too_many_leaves_nothing(tmp_path: Path) -> None:
    """More bytes than the limit are refused as they come, and nothing is left of them."""
    with pytest.raises(UploadTooLarge):
        await store_upload(chunks_of([b"x" * 400_000] * 10), tmp_path / "x.csv", 3_999_999)
    assert list(tmp_path.iterdir()) == []


async def test_a_broken_upload_leaves_nothing(tmp_path: Path) -> None:
    """When the client is gone in the middle, nothing is left of what it had sent."""
    with pytest.raises(ConnectionError):
        await store_upload(chunks_of([b"x" * 400_000], ConnectionError()), tmp_path / "x.csv", 1_000_000)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("sales 2024.csv", "sales 2024.csv"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\ann\\données.csv", "données.csv"),
        ("a\r\nSet-Cookie: x\x00\x1b[2J\u202e.csv", "aSet-Cookie: x[2J.csv"),
        ("x" * 300, "x" * 100),
        ("", "unnamed.csv"),
        ("folder/", "unnamed.csv"),
    ],
)
def test_a_name_is_safe_to_show(given: str, shown: str) -> None:
    """A user's file name is shown without folders, control characters and excess length."""
    assert shown_name(given) == shown


def test_only_stale_uploads_are_removed(tmp_path: Path) -> None:
    """What is older than the limit is removed, half uploads included; other files stay."""
    for name in ("old.csv", "old.part", "old.txt", "new.csv"):
        (tmp_path / name).touch()
        if name.startswith("old"):
            os.utime(tmp_path / name, (0, 0))
    assert remove_stale(tmp_path, 3600) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new.csv", "old.txt"]
    assert remove_stale(tmp_path / "nowhere", 3600) == 0
