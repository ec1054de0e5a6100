"""The GUI's part of the contract, against both dialects of the sandbox; and its reading of JSON."""

from __future__ import annotations

from typing import Any

import pytest

from mock_noetl.server import build, serve
from tests.contract import bridge
from tests.contract.gui import RULES, fits, javascript, members, rounded, table
from tests.contract.report import wrong
from tests.contract.server import connected


@pytest.mark.slow
@pytest.mark.parametrize("dialect", ["python", "rust"])
async def test_gui_gets_every_member_that_it_reads(dialect: str) -> None:
    async with serve(build(dialect)) as listener, connected(listener.url) as server:
        column = await bridge.check(server)
    assert wrong({dialect: column}) == []
    assert {(read.request, read.member, read.rule) for read in table()} <= column.keys()


def test_numbers_that_javascript_rounds_are_found_wherever_they_are() -> None:
    found = javascript(
        b'{"a": [{"id": 9007199254740993}, {"id": 9007199254740992}], "b": -412345678901234567, "c": "9"}'
    )
    assert sorted(rounded(found)) == ["a[].id", "b"]


@pytest.mark.parametrize(
    ("value", "rule", "expected"),
    [
        (412345678901234567, "id", False),
        ("412345678901234567", "id", True),
        (None, "id", False),
        (None, "id?", True),
        ("", "text", False),
        (True, "count", False),
        (0, "count", False),
        (101, "percent", False),
        ("2026-11-02T08:00:00Z", "time", True),
        ("yesterday", "time", False),
        ("running", "word", False),
        (1, "=true", False),
        ("7", "=RUN", True),
        (["7"], "=[RUN]", True),
    ],
)
def test_rule_of_a_member(value: Any, rule: str, expected: bool) -> None:
    assert fits(value, rule, {"RUN": "7"}) is expected


@pytest.mark.parametrize(
    ("document", "way"), [({}, "a"), ({"a": None}, "a.b"), ({"a": []}, "a[].b"), ([{"b": 1}, {}], "[].b"), (None, "a")]
)
def test_missing_member_is_found(document: Any, way: str) -> None:
    with pytest.raises(LookupError):
        members(document, way)


def test_every_rule_of_the_table_is_known() -> None:
    words = {read.rule.removesuffix("?") for read in table() if not read.rule.startswith("=")}
    assert words <= RULES.keys()
