"""What is refused at the start, and how."""

import logging
import sqlite3
from pathlib import Path

import pytest

from asyncq import Severity, SQLiteBroker
from asyncq.errors import ConfigurationError
from asyncq.sqlite.checks import check_library, check_place, has_wal_reset_bug, mount_type
from tests.sqlite.pairs import make_pair, opened

MOUNTS = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:40 / /mnt/team\\040files rw,relatime shared:2 - nfs4 server:/export rw
31 22 0:41 / /home rw,relatime shared:3 - tmpfs tmpfs rw
32 22 0:42 / /home rw,relatime shared:4 - fuse.sshfs me@host: rw
"""


async def refused(path: Path, words: str) -> None:
    """Expect that the path is refused in these words."""
    pair = make_pair(path)
    with pytest.raises(ConfigurationError, match=words):
        await pair.store.open()


async def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    """A path into a folder that does not exist is refused, and no folder is made."""
    await refused(tmp_path / "nowhere" / "queue.db", "'.*nowhere/queue.db' does not exist")
    assert list(tmp_path.iterdir()) == []


async def test_a_folder_is_no_file(tmp_path: Path) -> None:
    """A folder in the place of the file is refused."""
    await refused(tmp_path, "is a folder")


async def test_a_text_file_is_no_database(tmp_path: Path) -> None:
    """A file that holds something else is refused, and stays as it is."""
    path = tmp_path / "notes.txt"
    path.write_text("Milk, bread, and a bicycle.\n" * 100)
    await refused(path, "is not a SQLite database")
    assert path.read_text().startswith("Milk")


async def test_another_programs_database_is_refused(tmp_path: Path) -> None:
    """A database with somebody else's tables is left alone."""
    path = tmp_path / "shop.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE customers(name)")
    connection.close()
    await refused(path, "the database of another program")


@pytest.mark.parametrize(("version", "advice"), [(99, "the file\\."), (1, "or give this one another file")])
async def test_tables_of_another_version_are_refused(tmp_path: Path, version: int, advice: str) -> None:
    """A file that a later or an earlier asyncq has made is not written."""
    path = tmp_path / "queue.db"
    async with opened(path):
        pass
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version = {version}")
    connection.close()
    await refused(path, f"tables of version {version}; .*{advice}")


@pytest.mark.parametrize("made", ["TABLE lanes", "INDEX calls_ready", "TRIGGER lanes_are_none"])
async def test_tables_of_a_development_version_are_refused(tmp_path: Path, made: str) -> None:
    """A file of this version that lacks something, as one may that was made before it was released, is not written."""
    path = tmp_path / "queue.db"
    async with opened(path):
        pass
    with sqlite3.connect(path) as connection:
        connection.execute(f"DROP {made}")
    connection.close()
    await refused(path, "a development version of asyncq has made it. Give this one another file, or remove")


async def test_a_file_that_cannot_be_made_is_refused() -> None:
    """A folder in which nothing can be written is named."""
    await refused(Path("/proc/self/queue.db"), "cannot be (opened|written)")


def test_a_network_mount_is_refused(tmp_path: Path) -> None:
    """A file on a network mount is refused with the type of the mount; a local one passes."""
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS.replace("/mnt/team\\040files", str(tmp_path).replace(" ", "\\040")))
    with pytest.raises(ConfigurationError, match="network mount \\(nfs4\\)"):
        check_place(tmp_path / "queue.db", mounts)
    mounts.write_text(MOUNTS)
    check_place(tmp_path / "queue.db", mounts)


def test_the_type_of_a_mount_is_that_of_the_innermost(tmp_path: Path) -> None:
    """The longest mount point that holds the folder counts, of two on the same point the later one."""
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS)
    assert mount_type(Path("/var/lib"), mounts) == "ext4"
    assert mount_type(Path("/mnt/team files/queues"), mounts) == "nfs4"
    assert mount_type(Path("/home/me"), mounts) == "fuse.sshfs"
    assert mount_type(Path("/homework"), mounts) == "ext4"
    assert mount_type(Path("/var"), tmp_path / "nowhere") == ""


def test_an_old_library_is_refused() -> None:
    """A SQLite without the statements that are used is refused with both versions."""
    with pytest.raises(ConfigurationError, match=r"SQLite 3.35.0 or later is needed.*3.34.1"):
        check_library((3, 34, 1))
    check_library((3, 35, 0))


@pytest.mark.skipif(not has_wal_reset_bug(), reason="this SQLite is sound")
async def test_the_wal_reset_bug_is_mentioned_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A library with the WAL-reset bug is mentioned once for each database, at INFO."""
    caplog.set_level(logging.INFO, "asyncq")
    async with opened(tmp_path / "queue.db"):
        pass
    assert [record.levelname for record in caplog.records if "WAL-reset" in record.message] == ["INFO"]


async def test_findings(tmp_path: Path) -> None:
    """What a check says of a file: that it can be used, what a power cut may take, or why it cannot be."""
    file, *others = await SQLiteBroker(tmp_path / "queue.db").check()
    assert file.severity is Severity.OK
    assert all(finding.is_fine for finding in others)
    *_, persistence = await SQLiteBroker(tmp_path / "queue.db", synchronous="NORMAL").check()
    assert (persistence.severity, persistence.about) == (Severity.NOTE, "persistence")
    (tmp_path / "text.db").write_text("no database, and long enough to be looked at: " * 20)
    (wrong,) = await SQLiteBroker(tmp_path / "text.db").check()
    assert wrong.severity is Severity.ERROR
    assert "is not a SQLite database" in wrong.text
