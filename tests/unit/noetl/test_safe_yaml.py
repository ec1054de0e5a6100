"""YAML of other people: what is loaded, and what is not."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.noetl.safe_yaml import YamlProblem, load_yaml


@pytest.mark.parametrize(
    ("text", "document"),
    [
        ("a: 1", {"a": 1}),
        ("a: &x {b: 1}\nc: {<<: *x, d: *x}", {"a": {"b": 1}, "c": {"b": 1, "d": {"b": 1}}}),
        ("[" * 100 + "]" * 100, None),
        ("", None),
    ],
)
def test_harmless_document_is_loaded(text: str, document: Any) -> None:
    assert document is None or load_yaml(text) == document


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        ("[" * 400_000, 1, 101),
        ("{a: " * 400_000, 1, 401),
        ("- " * 400_000, 1, 201),
        ("a: &a [*a]", 1, 8),
        ("a: *b", 1, 4),
        ("a: [1\nb: 2", 2, 2),
        ("a: \x00", 1, 1),
        ("a: 2026-99-99", 1, 1),
        ("a: 1\n---\nb: 2", 2, 1),
    ],
)
def test_other_document_is_refused_with_its_place(text: str, line: int, column: int) -> None:
    with pytest.raises(YamlProblem) as found:
        load_yaml(text)
    assert (found.value.line, found.value.column) == (line, column)


@pytest.mark.parametrize("one", ["[*{0}, *{0}]", "{{<<: [*{0}, *{0}]}}", "{{x: *{0}, y: *{0}}}"])
def test_aliases_count_as_what_they_stand_for(one: str) -> None:
    lines = ["a0: &a0 {k: v}", *(f"a{n}: &a{n} " + one.format(f"a{n - 1}") for n in range(1, 30))]
    with pytest.raises(YamlProblem, match="too large"):
        load_yaml("\n".join(lines))
