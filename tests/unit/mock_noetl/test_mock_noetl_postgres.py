"""Errors of the substitute for PostgreSQL, spelled as by the real one."""

from __future__ import annotations

import pytest

from mock_noetl.postgres import Database, null_error, schema_error


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("selec 1", 'syntax error at or near "selec"\nLINE 1: selec 1\n        ^'),
        ("select bad", 'column "bad" does not exist\nLINE 1: select bad\n               ^'),
        ("select 'a", "unterminated quoted string at or near \"'a\"\nLINE 1: select 'a\n               ^"),
        ("x" * 70, f'syntax error at or near "{"x" * 70}"\nLINE 1: {"x" * 60}...\n        ^'),
        (
            f"select '{'x' * 80}', bad",
            f'column "bad" does not exist\nLINE 1: ...{"x" * 54}\', bad\n{" " * 68}^',
        ),
    ],
)
def test_error_has_the_line_and_a_mark(query: str, text: str) -> None:
    found = Database().execute(query)
    assert found.error is not None
    assert found.error.explained() == text


@pytest.mark.parametrize(
    ("schema", "error"),
    [
        (None, None),
        ("noetl", None),
        ("a, b", None),
        ("5", None),
        ("", "syntax error at end of input"),
        ("  ", "syntax error at end of input"),
        ("a b", 'syntax error at or near "b"'),
        ("a;b", 'syntax error at or near "b"'),
        ("a-b", 'syntax error at or near "-"'),
        ("a\0b", "insufficient data left in message"),
    ],
)
def test_schema(schema: str | None, error: str | None) -> None:
    assert schema_error(schema) == error


def test_null_characters() -> None:
    assert null_error("select 1") is None
    assert null_error("\0") == "invalid message format"
    assert null_error("select 'a\0b'") == "insufficient data left in message"
