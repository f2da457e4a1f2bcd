"""Rings between processes: none is lost, whatever the receiver does."""

import socket
import sqlite3
from collections.abc import AsyncIterator
from math import inf
from pathlib import Path

import pytest
import pytest_asyncio

from asyncq.sqlite.doorbell import Doorbell, PollingDoorbell, SocketDoorbell
from asyncq.sqlite.rings import MAX_INLINE, MAX_KEPT, Ring, Ringer, decode_rings, notice_of_end
from asyncq.store import Notice
from tests.waiting import wait_until


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "queue.db"
    path.touch()
    return path


@pytest_asyncio.fixture
async def doorbell(database: Path) -> AsyncIterator[Doorbell]:
    doorbell = SocketDoorbell(database)
    yield doorbell
    doorbell.close()


async def test_a_ring_reaches_its_line(database: Path, doorbell: Doorbell) -> None:
    """A ring is heard by the line it is for, and by no other."""
    heard: list[Ring] = []
    others: list[Ring] = []
    address = doorbell.connect(heard.append)
    doorbell.connect(others.append)
    ringer = Ringer(database)
    ringer.ring([(address, Ring(0, due_ms=5)), (address, Ring(0, notices=[Notice("a", b"\x00", is_over=True)]))])
    await wait_until(lambda: len(heard) == 2, "both rings to be heard")
    assert [ring.due_ms for ring in heard] == [5, None]
    assert heard[1].notices == [Notice("a", b"\x00", is_over=True)]
    assert others == []
    ringer.close()


async def test_what_does_not_fit_is_kept_and_sent_later(database: Path, doorbell: Doorbell) -> None:
    """A receiver that did not read while its socket ran full gets every notice once it reads."""
    heard: list[Ring] = []
    address = doorbell.connect(heard.append)
    ringer = Ringer(database)
    for n in range(200):
        ringer.ring([(address, Ring(0, notices=[Notice(str(n), b"x" * MAX_INLINE, is_over=True)]))])
    assert ringer.seconds_to_retry() < inf

    def is_all_sent() -> bool:
        ringer.retry()
        return ringer.seconds_to_retry() == inf

    await wait_until(is_all_sent, "the kept rings to be sent")
    await wait_until(lambda: len(heard) == 200, "every ring to be heard")
    assert [notice.id for ring in heard for notice in ring.notices or ()] == [str(n) for n in range(200)]
    ringer.close()


async def test_a_receiver_that_does_not_read_is_told_to_look(database: Path, doorbell: Doorbell) -> None:
    """Past a bound nothing more is kept for a receiver; it is told to look at everything instead."""
    heard: list[Ring] = []
    address = doorbell.connect(heard.append)
    ringer = Ringer(database)
    for n in range(2 * MAX_KEPT):
        ringer.ring([(address, Ring(0, notices=[Notice(str(n), is_over=True)]))])

    def is_all_sent() -> bool:
        ringer.retry()
        return ringer.seconds_to_retry() == inf

    await wait_until(is_all_sent, "what is kept to be sent")
    await wait_until(lambda: any(ring.notices is None for ring in heard), "the order to look at everything")
    ringer.close()


def test_a_large_record_does_not_travel() -> None:
    """The notice of an end holds a small record, and leaves a large one to be looked up."""
    assert notice_of_end("a", b"x" * MAX_INLINE).record is not None
    assert notice_of_end("a", b"x" * (MAX_INLINE + 1)) == Notice("a", is_over=True)


async def test_a_large_post_is_divided(database: Path, doorbell: Doorbell) -> None:
    """Notices that fill many datagrams arrive all, in order."""
    heard: list[Ring] = []
    address = doorbell.connect(heard.append)
    ringer = Ringer(database)
    ringer.ring([(address, Ring(0, notices=[Notice(str(n), b"x" * 1_000, is_over=True) for n in range(1_000)]))])

    def is_all_heard() -> bool:
        ringer.retry()
        return sum(len(ring.notices or ()) for ring in heard) == 1_000

    await wait_until(is_all_heard, "all notices")
    assert [notice.id for ring in heard for notice in ring.notices or ()] == [str(n) for n in range(1_000)]
    ringer.close()


async def test_a_dead_bell_is_found_and_removed(database: Path) -> None:
    """Ringing where a killed process has left its socket tells that it is dead, and removes the socket."""
    path = Path(f"{database}-killed")
    left = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    left.bind(str(path))
    left.close()
    ringer = Ringer(database)
    ringer.ring([("killed:1", Ring(0)), ("gone:1", Ring(0))])
    assert ringer.dead == {"killed", "gone"}
    assert ringer.seconds_to_retry() == inf
    assert not path.exists()
    ringer.close()


async def test_a_bell_that_was_removed_is_put_up_again(database: Path, doorbell: Doorbell) -> None:
    """When somebody removes the socket, mending makes it anew under the same address, and all look at everything."""
    heard: list[Ring] = []
    address = doorbell.connect(heard.append)
    doorbell.mend()
    assert (doorbell.mends, heard) == (0, [])
    (bell,) = [path for path in database.parent.iterdir() if path.is_socket()]
    bell.unlink()
    ringer = Ringer(database)
    ringer.ring([(address, Ring(0, due_ms=5))])
    assert ringer.dead == {doorbell.bell}
    doorbell.mend()
    assert [(ring.due_ms, ring.notices) for ring in heard] == [(None, None)]
    ringer.ring([(address, Ring(0, due_ms=6))])
    await wait_until(lambda: len(heard) == 2, "the ring to be heard")
    assert (doorbell.mends, heard[1].due_ms) == (1, 6)
    ringer.close()


async def test_a_long_path_moves_the_socket(tmp_path: Path) -> None:
    """Where the path beside the file is too long for a socket, it lies among the temporary files."""
    folder = tmp_path / ("long" * 30)
    folder.mkdir()
    database = folder / "queue.db"
    database.touch()
    doorbell, heard = SocketDoorbell(database), list[Ring]()
    address = doorbell.connect(heard.append)
    assert Path(doorbell.bell).is_absolute()
    ringer = Ringer(database)
    ringer.ring([(address, Ring(0))])
    await wait_until(lambda: bool(heard), "the ring to be heard")
    ringer.close()
    doorbell.close()
    assert not Path(doorbell.bell).exists()
    assert list(folder.iterdir()) == [database]


def test_strangers_are_not_heard() -> None:
    """Bytes that are no rings are none."""
    assert decode_rings(b"hello") == []
    assert decode_rings(b"") == []


async def test_without_sockets_every_commit_of_others_is_noticed(tmp_path: Path) -> None:
    """Where there are no Unix sockets, each line is rung after another connection has committed."""
    path = tmp_path / "queue.db"
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("PRAGMA journal_mode = WAL")
    other.execute("CREATE TABLE numbers(n)")
    doorbell, heard = PollingDoorbell(path), list[Ring]()
    doorbell.connect(heard.append)
    heard.clear()
    other.execute("INSERT INTO numbers VALUES (1)")
    await wait_until(lambda: bool(heard), "the commit to be noticed")
    doorbell.close()
    other.close()
