"""JSON texts with members changed or added, and every other byte as it was."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.http.json_members import TextIds, read_object

IDS = TextIds(("execution_id", "catalog_id"), ("event_ids",))
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20)
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a": 1.0, "b":1e400}', '{"a": 1.0, "b":1e400,"c":true}'),
        ("{}", '{"c":true}'),
        (" { } \n", ' { "c":true} \n'),
        ('{"c":  [1, 2]}', '{"c":  [1, 2]}'),
    ],
)
def test_a_member_is_added_where_it_is_missing(text: str, expected: str) -> None:
    assert read_object(text).edited({}, {"c": "true"}) == expected


def test_a_member_is_changed_where_it_is_and_nothing_else() -> None:
    text = '{"completed": false , "n": 1.50, "s": "\\u00e4"}'
    assert read_object(text).edited({"completed": "true"}, {}) == '{"completed": true , "n": 1.50, "s": "\\u00e4"}'


@pytest.mark.parametrize("text", ["", "[]", "1", '{"a" 1}', '{"a":1,}', '{"a":1} 2', '{"a":1', "{1:2}", '{"a":01}'])
def test_what_is_not_one_object_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"no |Expecting|more than|not a text"):
        read_object(text)


@given(st.dictionaries(st.text(max_size=8), JSON, max_size=5))
def test_an_object_without_changes_is_the_same_text(document: dict[str, Any]) -> None:
    text = json.dumps(document)
    found = read_object(text)
    assert found.edited({}, {}) == text
    assert found.values == document


@given(st.dictionaries(st.text(max_size=8), JSON, max_size=5), st.text(max_size=8), JSON)
def test_an_edited_object_has_the_value_and_all_others(document: dict[str, Any], name: str, value: Any) -> None:
    edited = read_object(json.dumps(document)).edited({name: json.dumps(value)}, {})
    assert json.loads(edited) == {**document, name: value}


@given(st.integers(min_value=0, max_value=2**63 - 1), JSON)
def test_ids_keep_their_digits_and_nothing_else_changes(number: int, other: Any) -> None:
    document = {"execution_id": number, "x": [{"catalog_id": number, "event_ids": [number, 1]}], "other": other}
    found = json.loads(IDS.written(json.dumps(document)))
    id_ = str(number)
    wanted: Any = {"execution_id": id_, "x": [{"catalog_id": id_, "event_ids": [id_, "1"]}], "other": other}
    assert found == wanted


@given(st.text())
def test_what_looks_like_an_id_within_a_text_is_left(noise: str) -> None:
    document = {"text": f'{noise}{{"execution_id": 5, {noise}', "list": ["execution_id", 5]}
    assert json.loads(IDS.written(json.dumps(document, ensure_ascii=False))) == document


@pytest.mark.parametrize("value", ["1.5", "1e3", "null", '"1"'])
def test_what_is_no_whole_number_is_left(value: str) -> None:
    text = f'{{"execution_id": {value}}}'
    assert IDS.written(text) == text
