"""The page that helps to choose a broker: its table is what the code says."""

from dataclasses import fields, replace

from asyncq import RedisBroker
from asyncq.transport import Capabilities
from scripts.brokers_page import NO, PAGE, ROWS, YES, written


def test_the_table_is_true() -> None:
    """The page holds the table that is made of the code as it is now; `make docs` writes it."""
    page = PAGE.read_text()
    assert page == written(page), "docs/brokers.md is not what the code says: run `make docs`."


def test_each_capability_is_told() -> None:
    """Whatever a broker may lack makes a difference to a row."""
    told = {name for row in ROWS for name in row.needs}
    assert told == {field.name for field in fields(Capabilities)} - {"remedy"}


def test_what_is_lacked_shows() -> None:
    """A row has a tick of a broker that can all that its tests need, and of no other."""
    able = RedisBroker.capabilities
    assert all(row.cell(able) == YES for row in ROWS)
    unable = replace(able, has_memory=False)
    assert {row.cell(unable) for row in ROWS if "has_memory" in row.needs} == {NO}
