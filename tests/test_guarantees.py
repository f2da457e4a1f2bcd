"""The page of guarantees: each row names its proof, and each proof is there."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "guarantees.md").read_text()

LABEL = re.compile(r"\[([A-Z]\d+)\](?!:)")
TARGET = re.compile(r"^\[([A-Z]\d+)\]: #(\w+)$", re.MULTILINE)
ENTRY = re.compile(r'^- <a id="([A-Z]\d+)"></a>([A-Z]\d+): `([\w/.]+)::(\w+)`$', re.MULTILINE)
ROW = re.compile(r"^\|(?!---).*(?<!\| Proof )\|$", re.MULTILINE)

ENTRIES = ENTRY.findall(PAGE)


@cache
def names_in(path: str) -> set[str]:
    """Return the names of the tests in a file, those in classes included."""
    tree = ast.parse((ROOT / path).read_text())
    functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return {function.name for function in functions if function.name.startswith("test_")}


@pytest.mark.parametrize(("anchor", "label", "path", "name"), ENTRIES, ids=[entry[1] for entry in ENTRIES])
def test_a_proof_is_there(anchor: str, label: str, path: str, name: str) -> None:
    """A test that the page lists exists under that name, and the list tells it under the label that links to it."""
    assert anchor == label
    assert name in names_in(path)


def test_every_row_names_its_proof() -> None:
    """No row of a table goes without a test, no label without an entry, and no entry without a row."""
    assert [row for row in ROW.findall(PAGE) if not LABEL.search(row)] == []
    labels = [label for _, label, _, _ in ENTRIES]
    assert len(labels) == len(set(labels))
    assert set(LABEL.findall(PAGE)) == set(labels)
    assert TARGET.findall(PAGE) == [(label, label) for label in labels]
