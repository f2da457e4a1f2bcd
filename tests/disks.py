"""Small file systems, which a test can fill."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Path]:
    """Mount a file system of so many bytes in a new folder; skip the test where this user may not."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)]
    mounted = subprocess.run(command, capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip(f"This user may mount no file system: {mounted.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@contextmanager
def filled(folder: Path) -> Iterator[None]:
    """Leave no room on a file system meanwhile."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    try:
        yield
    finally:
        filler.unlink()


class FailingDisk:
    """A file system on a file, which a test lets fail as disks do: it turns read-only under whoever uses it.

    Args:
        folder: where it is mounted; made new.
        size: in bytes.
    """

    def __init__(self, folder: Path, size: int) -> None:
        self.folder = folder
        self._image = folder.with_suffix(".img")
        self._size = size

    def __enter__(self) -> Self:
        self.folder.mkdir()
        with self._image.open("wb") as image:
            image.truncate(self._size)
        self._run("mkfs.ext4", "-q", "-F", str(self._image))
        self._mount()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        subprocess.run(["umount", str(self.folder)], check=True)

    def fail(self) -> None:
        """Turn read-only, with all files open."""
        source = subprocess.run(
            ["findmnt", "-no", "SOURCE", str(self.folder)], capture_output=True, check=True, text=True
        ).stdout.strip()
        Path("/sys/fs/ext4", Path(source).name, "trigger_fs_error").write_text("a test")

    def mend(self) -> None:
        """Check it and mount it again; nobody may have a file open there."""
        subprocess.run(["umount", str(self.folder)], check=True)
        subprocess.run(["e2fsck", "-fy", str(self._image)], capture_output=True, check=False)
        self._mount()

    def _mount(self) -> None:
        self._run("mount", "-o", "loop,errors=remount-ro", str(self._image), str(self.folder))

    def _run(self, *command: str) -> None:
        try:
            done = subprocess.run(command, capture_output=True, check=False, text=True)
        except FileNotFoundError:
            pytest.skip(f"There is no {command[0]} here.")
        if done.returncode:
            pytest.skip(f"This user may not {command[0]}: {done.stderr.strip()}")
