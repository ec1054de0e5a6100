"""Templates over the variables of a run: what they compute, and what they refuse."""

from __future__ import annotations

import contextlib
import time
import tracemalloc
from collections import deque
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mock_noetl.template_limits import TemplateFailed, begin_budget, end_budget
from mock_noetl.templates import MAX_TEXT, compiled, holds, rendered

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


LARGE = [
    "{{ 'a' | center(10 ** 9) }}",
    "{{ 'a'.center(10 ** 9) }}",
    "{{ 'a'.ljust(10 ** 9) }}",
    "{{ '1'.zfill(10 ** 9) }}",
    "{{ '\t'.expandtabs(10 ** 9) }}",
    "{{ '%1000000000d' % 1 }}",
    "{{ '%*d' % (10 ** 9, 1) }}",
    "{{ '%.1000000000f' % 1 }}",
    "{{ '{:1000000000}'.format(1) }}",
    "{{ '%1000000000d' | format(1) }}",
    "{{ 'a' | indent(10 ** 9, true) }}",
    "{{ [1] | batch(10 ** 9, 0) | list }}",
    "{{ [1] | slice(10 ** 9) | list }}",
    "{{ 1.5 | round(10 ** 9, 'floor') }}",
    "{{ (1).to_bytes(10 ** 9) }}",
    "{{ [1] | tojson(10 ** 9) }}",
    "{{ range(1000) | join('x' * 1000000) }}",
    "{{ ('x' * 1000000).join(range(1000) | map('string')) }}",
    "{{ ('x' * 1000000).replace('', 'y' * 1000000) }}",
    "{{ ('x' * 1000000) | replace('x', 'y' * 1000000) }}",
    "{{ [['x' * 1000000] * 1000] | string }}",
    "{{ [[[1] * 1000] * 1000] * 1000 }}",
    "{{ [[1], [2]] | sum(start=[]) }}",
    "{{ 'x' * 900000 }}{{ 'x' * 900000 }}",
    "{{ 'x' * 900000 ~ 'x' * 900000 }}",
    "{{ 'x' * 900000 + 'x' * 900000 }}",
    "{{ ('<!--' * 100000) | striptags }}",
    "{% set x = 'x' %}" + "{% set x = x ~ x %}" * 40 + "{{ x }}",
    "{% set x = 'x' %}" + "{% set x = x + x %}" * 40 + "{{ x }}",
    "{% set x = 9 %}" + "{% set x = x * x %}" * 40 + "{{ x }}",
    "{% set x = [1] %}" + "{% set x = x + x %}" * 40 + "{{ x }}",
    "{% set x = [1] %}" + "{% set x = [x, x] %}" * 40 + "{{ x }}",
    "{% set x = [1] %}" + "{% set x = {'a': x, 'b': x} %}" * 40 + "{{ x | tojson }}",
    "{{ " + "(" * 4000 + "1" + ")" * 4000 + " }}",
    "{{ " + "[" * 4000 + "]" * 4000 + " }}",
]


@pytest.mark.parametrize("text", LARGE)
def test_template_that_would_make_much_of_a_little_is_refused_soon(text: str) -> None:
    tracemalloc.start()
    start = time.process_time()
    try:
        with pytest.raises(TemplateFailed):
            compiled(text)(SCOPE)
        assert tracemalloc.get_traced_memory()[1] < 300 * 1024**2
    finally:
        tracemalloc.stop()
    assert time.process_time() - start < 10  # of CPU, while memory is traced; without a limit these take minutes


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{ 'a,b'.split(',') | join('-') }}", "a-b"),
        ("{{ '-'.join(['a', 'b']) }}", "a-b"),
        ("{{ 'aXa'.replace('a', 'b', 1) }}", "bXa"),
        ("{{ 'aXa' | replace('a', 'b') }}", "bXb"),
        ("{{ '%05.1f' % a }}", "003.0"),
        ("{{ word ~ 1 ~ off }}", "ox1False"),
        ("{{ workload.get('none', 1) }}", 1),
        ("{{ list | map('string') | join(',') }}", "1,2,3"),
        ("{{ [{'n': 1}, {'n': 2}] | sum(attribute='n') }}", 3),
        ("{{ [{'n': 1}, {'n': 2}] | map(attribute='n') | list }}", [1, 2]),
        ("{{ 2.345 | round(1) }}", 2.3),
        ("{{ [1, {'a': true}] | tojson }}", '[1, {"a": true}]'),
        ("{% set x = a * 2 %}{{ x ~ '!' }}", "6!"),
        ("{{ dict(n=a).items() | list }}", [("n", 3)]),
    ],
)
def test_functions_and_methods(text: str, expected: object) -> None:
    assert compiled(text)(SCOPE) == expected


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


LONG = {"words": [f"word{number}" for number in range(30_000)], "text": "ab " * 300_000}


@pytest.mark.parametrize(
    "text",
    [
        "{{ words" + " | map('upper')" * 90 + " | list | length }}",
        "{{ words" + " | select('string')" * 90 + " | list | length }}",
        "{{ words" + " | sort" * 90 + " | length }}",
        "{{ words" + " | reverse | list" * 50 + " | length }}",
        "{{ words | max" + " ~ (words | max)" * 90 + " }}",
        "{{ text" + ".upper().lower()" * 20 + ".title().split() | length }}",
    ],
)
def test_template_that_takes_long_is_refused(text: str) -> None:
    template = compiled(text)
    start = time.process_time()
    with pytest.raises(TemplateFailed, match=r"the templates of a step take at most 100 ms|too many parts"):
        template(LONG)
    assert time.process_time() - start < 1


def test_templates_that_share_a_budget_use_it_up() -> None:
    template = compiled("{{ words | map('upper') | map('lower') | sort | length }}")
    assert template(LONG) == 30_000
    begin_budget()
    try:
        with pytest.raises(TemplateFailed, match="the templates of a step take at most 100 ms"):
            deque((template(LONG) for _ in range(100)), maxlen=0)
    finally:
        end_budget()
    assert template(LONG) == 30_000
