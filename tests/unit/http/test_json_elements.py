"""JSON arrays, element by element."""

from __future__ import annotations

import json

import pytest

from proxy.http.json_elements import elements


@pytest.mark.parametrize(
    ("data", "member", "expected"),
    [
        (b"[]", None, []),
        (b' [1 , "a",\n{"b": [2]}] ', None, [(1, "1"), ("a", '"a"'), ({"b": [2]}, '{"b": [2]}')]),
        (b'{"x": [0], "entries": [{"a": 1}]}', "entries", [({"a": 1}, '{"a": 1}')]),
        ('["ünï"]'.encode("utf-16"), None, [("ünï", '"ünï"')]),
    ],
)
def test_each_element_comes_with_its_text(data: bytes, member: str | None, expected: list[object]) -> None:
    assert list(elements(data, member)) == expected


@pytest.mark.parametrize(
    ("data", "member"),
    [
        (b"", None),
        (b"{}", None),
        (b"[1", None),
        (b"[1] 2", None),
        (b"[1,]", None),
        (b"{}", "a"),
        (b'{"a": {}}', "a"),
        (b'{"a": [], "a": []}', "a"),
        (b'{"b": []}', "a"),
        (b'{"a" []}', "a"),
    ],
)
def test_other_json_is_a_value_error(data: bytes, member: str | None) -> None:
    with pytest.raises(ValueError, match=r".*"):
        list(elements(data, member))


def test_element_that_is_nested_too_deeply_is_a_recursion_error() -> None:
    with pytest.raises(RecursionError):
        list(elements(b"[" + b"[" * 100_000, None))


def test_elements_are_those_of_the_whole_document() -> None:
    document = [{"a": n, "b": [None, True, 1.5, "é"]} for n in range(100)]
    assert [value for value, _ in elements(json.dumps(document).encode(), None)] == document
