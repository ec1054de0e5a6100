"""JSON bodies as the Rust server reads them. What it answers in whole is in the recorded answers of the contract."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mock_noetl.rust.reader import Anything, DataError, Reader, Shape
from mock_noetl.rust.serde import Default, Integer, Optional, Sequence, Struct, Text, parsed

SHAPE = Struct("Thing", {"name": Text(), "size": Optional(Integer()), "tags": Default(Sequence(Text()), list)})
NUMBERS = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)  # fmt: skip


@given(JSON)
def test_valid_json_is_read_as_by_others(value: Any) -> None:
    assert Reader(json.dumps(value).encode()).document(Anything()) == value


@given(st.binary(max_size=40) | st.text(alphabet='{}[],:"\\ u0-1.eEtrufalsn', max_size=30).map(str.encode))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with contextlib.suppress(DataError):
        Reader(data).document(Anything())
    with contextlib.suppress(DataError):
        Reader(data).document(SHAPE)


def outcome(read: Callable[[], Any]) -> Any:
    """Return what is read, or the error."""
    try:
        return read()
    except DataError as error:
        return str(error), type(error)


TEXTS = JSON.map(json.dumps) | st.text(alphabet='{}[],:"\\ u0-1.eEtrufalsnamgizN', max_size=30)
THINGS = st.dictionaries(st.sampled_from(["name", "size", "tags", "other"]), JSON).map(json.dumps)


@given(TEXTS | THINGS, st.sampled_from([SHAPE, Anything()]))
def test_quick_way_makes_no_difference(text: str, shape: Shape) -> None:
    data = text.encode()
    quick, thorough = outcome(lambda: parsed(data, shape)), outcome(lambda: Reader(data).document(shape))
    assert repr(quick) == repr(thorough)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"name": "a"}', {"name": "a", "size": None, "tags": []}),
        ('{"tags": ["x"], "size": 3, "other": [{}], "name": "a"}', {"name": "a", "size": 3, "tags": ["x"]}),
        ('["a", null, []]', {"name": "a", "size": None, "tags": []}),
    ],
)
def test_struct(text: str, expected: object) -> None:
    assert Reader(text.encode()).document(SHAPE) == expected


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "EOF while parsing a value at line 1 column 0"),
        ("{}", "missing field `name` at line 1 column 2"),
        ('{"name": 1}', "name: invalid type: integer `1`, expected a string at line 1 column 10"),
        ('{"name": "a", "name": "b"}', "duplicate field `name` at line 1 column 20"),
        ('{"name": "a",\n "tags": [1]}', "tags[0]: invalid type: integer `1`, expected a string at line 2 column 11"),
        ('{"name": "a"} x', "trailing characters at line 1 column 15"),
        ('{"name": "a",}', "trailing comma at line 1 column 14"),
        ("[" * 200, "invalid type: sequence, expected a string"),
    ],
)
def test_error_and_its_place(text: str, error: str) -> None:
    with pytest.raises(DataError) as caught:
        Reader(text.encode()).document(SHAPE)
    assert error in str(caught.value)


def test_nesting_is_limited() -> None:
    with pytest.raises(DataError, match="recursion limit exceeded at line 1 column 128"):
        Reader(b"[" * 100_000).document(Anything())
