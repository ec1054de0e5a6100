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


@pytest.mark.parametrize(
    ("text", "core", "by_default"),
    [
        ("NO", "NO", False), ("off", "off", False), ("yes", "yes", True), ("y", "y", "y"), ("true", True, True),
        ("1:30", "1:30", 90), ("08:30", "08:30", "08:30"), ("012", "012", 10), ("01234", "01234", 668),
        ("0o17", 15, "0o17"), ("0x1F", 31, 31), ("-0x1F", -31, -31), ("0b11", 3, 3), ("1_000", "1_000", 1000),
        ("+12", 12, 12), ("0", 0, 0), ("1e3", 1000.0, "1e3"), ("1.5", 1.5, 1.5), ("1.", 1.0, 1.0), (".5", 0.5, 0.5),
        ("1e-3", 0.001, "1e-3"), ("~", None, None), ("", None, None), ("null", None, None), ("nUll", "nUll", "nUll"),
        (".inf", None, float("inf")), ("-.INF", None, float("-inf")), ("!!binary aGk=", "aGk=", b"hi"),
        ("'12'", "12", "12"), ("1.2.3", "1.2.3", "1.2.3"),
    ],
)  # fmt: skip
def test_plain_scalars_by_the_schema_of_each_server(text: str, core: object, by_default: object) -> None:
    for found, wanted in ((load_yaml(f"a: {text}", core=True), core), (load_yaml(f"a: {text}"), by_default)):
        assert found == {"a": wanted}
        assert type(found["a"]) is type(wanted)


def test_keys_and_dates_by_the_core_schema() -> None:
    text = "on: 1\n2026-01-01: 2026-01-01T10:00:00Z\n<<: {b: 2}\n=: =\n"
    assert load_yaml(text, core=True) == {"on": 1, "2026-01-01": "2026-01-01T10:00:00Z", "<<": {"b": 2}, "=": "="}
