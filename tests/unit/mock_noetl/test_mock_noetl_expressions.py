"""The expression language of the sandbox: what it computes and what it refuses."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mock_noetl.expressions import ExpressionError, parse, render

NAMES = {"a": 3, "word": "ox", "items": [1, 2, 3], "workload": {"deep": {"key": "v"}}, "yes": True}


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("a + 4 * 2", 11),
        ("7 // 2 - 1 % 2", 2),
        ("a / 2", 1.5),
        ("-a", -3),
        ("not yes", False),
        ("1 < a <= 3", True),
        ("a in items and word == 'ox'", True),
        ("0 or word", "ox"),
        ("workload.deep.key", "v"),
        ("workload['deep']['key']", "v"),
        ("items[-1]", 3),
        ("upper(word) + lower('N')", "OXn"),
        ("sum(items) + min(items) + max(items) + len(items)", 13),
        ("join(items, '-')", "1-2-3"),
        ("int('12') + 1", 13),
        ("str(true) + str(null)", "truenull"),
        ("[a, {'k': word}]", [3, {"k": "ox"}]),
        ("'big' if a > 2 else 'small'", "big"),
    ],
)
def test_an_expression_has_its_value(source: str, value: object) -> None:
    assert parse(source).evaluate(NAMES) == value


@pytest.mark.parametrize(
    "source",
    [
        "__import__('os')",
        "a.__class__()",
        "(lambda: 1)()",
        "[x for x in items]",
        "f'{a}'",
        "a := 1",
        "2 ** 9999",
        "1 << 99",
        "len(obj=a)",
        "str.upper(word)",
        "min(*items)",
        "{**workload}",
        "b'x'",
        "a; a",
        "",
        "(" * 500 + ")" * 500,
        "1+" * 400 + "1",
    ],
)
def test_what_is_outside_the_language_is_refused_when_read(source: str) -> None:
    with pytest.raises(ExpressionError):
        parse(source)


@pytest.mark.parametrize(
    "source",
    [
        "unknown",
        "word.__class__",
        "workload.nothing",
        "items[9]",
        "1 / 0",
        "word - 1",
        "upper(a)",
        "int('x')",
        "min([])",
        "'x' * 999999",
        "[0] * 99999",
        "[[[items * 999] * 9] * 999] * 999",
        "1e308 * 10",
        "'%s' % a",
        " * ".join(["99999999999999999999"] * 20),
    ],
)
def test_an_expression_without_a_value_in_bounds_says_so_in_one_line(source: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        parse(source).evaluate(NAMES)
    assert "\n" not in str(caught.value)


def test_a_template_is_filled_in() -> None:
    assert render("no {{ word }} for {{ a + 1 }}", NAMES) == "no ox for 4"


@given(st.text(max_size=60))
def test_any_text_has_a_value_or_an_expression_error(source: str) -> None:
    with contextlib.suppress(ExpressionError):
        parse(source).evaluate(NAMES)
