"""Uploads on their way from the request to the disk, without blocking the loop and without trusting anybody."""

import asyncio
import time
import unicodedata
from collections.abc import AsyncIterable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

_BLOCK = 256 * 1024
"""Bytes that go to the disk at once: a trip to a thread costs more than a small write."""


class UploadTooLarge(Exception):
    """More bytes came than one upload may have."""


async def store_upload(chunks: AsyncIterable[bytes], path: Path, limit: int) -> int:
    """Write the chunks to a file as they come; the file is there under its name only once it is complete.

    Returns:
        How many bytes it has.

    Raises:
        UploadTooLarge: there are more than `limit`. Nothing is left behind, nor after any other error or cancellation.
    """
    partial = path.with_suffix(".part")
    file = await asyncio.to_thread(_create, partial)
    try:
        with file:
            size = await _write(chunks, file, limit)
        partial.rename(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    return size


async def _write(chunks: AsyncIterable[bytes], file: BinaryIO, limit: int) -> int:
    size = 0
    block = bytearray()
    async for chunk in chunks:
        size += len(chunk)
        if size > limit:
            raise UploadTooLarge
        block += chunk
        if len(block) >= _BLOCK:
            await asyncio.to_thread(file.write, block)
            block = bytearray()
    await asyncio.to_thread(file.write, block)
    return size


def _create(path: Path) -> BinaryIO:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("xb")


def shown_name(name: str) -> str:
    """Return a user's file name as it may be shown and logged: no folders, no control characters, 100 characters."""
    last = name.replace("\\", "/").rsplit("/", 1)[-1]
    visible = "".join(character for character in last if unicodedata.category(character)[0] != "C").strip()
    return visible[:100] or "unnamed.csv"


def remove_stale(folder: Path, older_than: float) -> int:
    """Remove uploads last written more than so many seconds ago; return how many. Blocks."""
    removed = 0
    for path in [*folder.glob("*.csv"), *folder.glob("*.part")]:
        with suppress(FileNotFoundError):  # the worker may be quicker
            if time.time() - path.stat().st_mtime > older_than:
                path.unlink()
                removed += 1
    return removed
