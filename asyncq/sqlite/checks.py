"""What is checked before a file is trusted with messages: the place and the library."""

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from asyncq.errors import ConfigurationError
from asyncq.findings import Finding, Severity

MIN_LIBRARY: Final = (3, 35, 0)
"""UPDATE ... FROM, RETURNING."""

WAL_RESET_FIXED: Final = (3, 51, 3)
"""Before it, two connections that write and checkpoint at the same moment can, rarely, corrupt a file
(https://sqlite.org/wal.html#walresetbug)."""

_NETWORK_TYPES: Final = frozenset(
    {
        "9p",
        "afs",
        "beegfs",
        "ceph",
        "cifs",
        "glusterfs",
        "gpfs",
        "lustre",
        "ncpfs",
        "nfs",
        "nfs4",
        "smb2",
        "smb3",
        "smbfs",
    }
    | {"vboxsf", "fuse.ceph", "fuse.gcsfuse", "fuse.glusterfs", "fuse.goofys", "fuse.rclone", "fuse.s3fs", "fuse.sshfs"}
)

MOUNTS: Final = Path("/proc/self/mountinfo")


def check_library(version: tuple[int, ...] = sqlite3.sqlite_version_info) -> None:
    """Raise ConfigurationError when the SQLite library is too old for our statements."""
    if version < MIN_LIBRARY:
        raise ConfigurationError(
            f"SQLite {_dotted(MIN_LIBRARY)} or later is needed; this Python was built with {_dotted(version)}."
        )


def has_wal_reset_bug(version: tuple[int, ...] = sqlite3.sqlite_version_info) -> bool:
    """Return whether this SQLite library has the fault described at WAL_RESET_FIXED."""
    return version < WAL_RESET_FIXED


def check_place(path: Path, mounts: Path = MOUNTS) -> None:
    """Raise ConfigurationError when the file could not be shared safely where it is to lie.

    Args:
        path: the file, absolute and without symbolic links.
        mounts: what the system says of its mounts.
    """
    if not path.parent.is_dir():
        raise ConfigurationError(f"The folder of the database file {str(path)!r} does not exist. Create it first.")
    if path.is_dir():
        raise ConfigurationError(f"{str(path)!r} is a folder; the path of a database file is needed.")
    kind = mount_type(path.parent, mounts)
    if kind in _NETWORK_TYPES:
        raise ConfigurationError(
            f"{str(path)!r} lies on a network mount ({kind}), where SQLite cannot keep processes apart. "
            "Put it on a local disk, or use a Redis broker."
        )


def mount_type(folder: Path, mounts: Path = MOUNTS) -> str:
    """Return the type of the file system that holds a folder; empty where the system does not tell."""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return ""
    best, kind = "", ""
    for line in lines:
        before, _, after = line.partition(" - ")
        point = before.split()[4].encode("latin-1", "replace").decode("unicode_escape")  # blanks are written as \040
        # Of mounts on the same point the last hides the others.
        if len(point) >= len(best) and folder.is_relative_to(point):
            best, kind = point, after.split()[0]
    return kind


def findings_of(path: Path, synchronous: str) -> Sequence[Finding]:
    """Return what is to be said of a file that could be opened."""
    findings = [Finding(Severity.OK, "file", f"{str(path)!r} can be used, by SQLite {sqlite3.sqlite_version}.")]
    if has_wal_reset_bug():
        text = (
            f"SQLite {sqlite3.sqlite_version} has the WAL-reset bug: rarely, a file that several processes write is "
            "damaged. asyncq makes it rarer still; a Python with SQLite 3.51.3 or later is safe from it."
        )
        findings.append(Finding(Severity.NOTE, "library", text))
    if synchronous == "NORMAL":
        text = "synchronous is NORMAL: a power cut may take the last calls, a crash of a process does not."
        findings.append(Finding(Severity.NOTE, "persistence", text))
    return findings


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
