"""How SQLite finds what the statements name."""

import re
import sqlite3
from importlib import import_module
from pkgutil import iter_modules

import pytest

import asyncq.sqlite
from asyncq.sqlite.schema import TABLES

VERBS = ("SELECT ", "UPDATE ", "DELETE ", "INSERT ", "WITH ")


def statements() -> dict[str, str]:
    """Return every statement of the package by the name of its constant."""
    found: dict[str, str] = {}
    for module in iter_modules(asyncq.sqlite.__path__):
        constants = vars(import_module(f"asyncq.sqlite.{module.name}"))
        for name, value in constants.items():
            if name.isupper() and isinstance(value, str) and value.lstrip().startswith(VERBS):
                found[f"{module.name}.{name}"] = value
    return found


@pytest.mark.parametrize("name", statements())
def test_no_statement_walks_through_all_calls(name: str) -> None:
    """Calls, letters and lanes, which may be millions, are found by an index in every statement."""
    sql = statements()[name]
    connection = sqlite3.connect(":memory:")
    connection.executescript(TABLES)
    parameters = dict.fromkeys(re.findall(r"\?(\d)", sql), "[]")
    plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", parameters)]
    connection.close()
    walks = [step for step in plan if re.match(r"SCAN (calls|letters|lanes)\b", step)]
    assert [
        step for step in walks if not re.search("calls_(running|suspect|blamed|with_terms)", step)
    ] == []  # few, or only the first is asked for
