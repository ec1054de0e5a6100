"""Templates over the variables of a run: what they compute, and what they refuse."""

from __future__ import annotations

import contextlib
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mock_noetl.templates import MAX_TEXT, TemplateFailed, compiled, holds, rendered

SCOPE: dict[str, Any] = {
    "a": 3,
    "word": "ox",
    "list": [1, 2, 3],
    "workload": {"deep": {"key": "v"}, "items": [7]},
    "off": False,
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("{{ a + 1 }}", 4),
        ("  {{ list }} ", [1, 2, 3]),
        ("{{ workload.deep.key }}", "v"),
        ("{{ workload.items }}", [7]),
        ("{{ word }}-{{ a }}", "ox-3"),
        ("{{ list | sum }}", 6),
        ("{{ a > 2 and not off }}", True),
        ("{{ missing | default('x') }}", "x"),
        ("{% if a == 3 %}three{% else %}other{% endif %}", "three"),
        ("{{ {'n': a} }}", {"n": 3}),
        ("{{ range(3) | list }}", [0, 1, 2]),
    ],
)
def test_value_of_a_template(text: str, expected: object) -> None:
    found = compiled(text)(SCOPE)
    assert (found, type(found)) == (expected, type(expected))


@pytest.mark.parametrize(
    "text",
    ["{{ 1 + }}", "{{ a", "{% for x in list %}{% endfor %}", "{% include 'x' %}", "x" * (MAX_TEXT + 1) + "{{ a }}"],
)
def test_malformed_template_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(TemplateFailed) as caught:
        compiled(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "{{ missing }}",
        "{{ missing.a }}",
        "{{ a / 0 }}",
        "{{ a.b }}",
        "{{ 'x' * 10000000 }}",
        "{{ 9 ** 9 ** 9 }}",
        "{{ range(10000000) | list }}",
        "{{ ''.__class__.__mro__ }}",
        "{{ list.append(1) }}",
        "{{ cycler.__init__.__globals__ }}",
    ],
)
def test_template_without_a_value_is_refused_soon(text: str) -> None:
    start = time.perf_counter()
    with pytest.raises(TemplateFailed):
        compiled(text)(SCOPE)
    assert time.perf_counter() - start < 0.5


@given(st.text(alphabet="{}%ab1+*(['\"])|. -_,=<>~", max_size=40))
def test_any_text_has_a_value_or_is_refused(text: str) -> None:
    with contextlib.suppress(TemplateFailed):
        compiled(text)(SCOPE)


def test_texts_of_inputs_without_a_value_become_empty() -> None:
    assert rendered({"x": ["{{ a }}", "{{ missing }}", 5]}, SCOPE) == {"x": [3, "", 5]}


@pytest.mark.parametrize(
    ("text", "expected"),
    [("a > 2", True), ("{{ off }}", False), ("{{ missing }}", False), ("{{ 'False' }}", False), ("1 +", False)],
)
def test_condition(text: str, expected: bool) -> None:
    assert holds(text, SCOPE) is expected
