"""The fast JSON reads and writes what the standard library's does."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.http.json import read_json, write_json

LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)
TEXTS = VALUES.flatmap(
    lambda value: st.sampled_from(
        [
            json.dumps(value),
            json.dumps(value, ensure_ascii=False),
            json.dumps(value, indent=1, separators=(" , ", " : ")),
        ]
    )
)
PIECES = st.lists(
    st.sampled_from([*'{}[],:"\\ \n01-.é\x01', '"a"', "\\u", "d800", "e5", "1e400", "NaN", "Infinity", "null", "true"]),
    max_size=12,
).map("".join)


def outcome(read: Any, data: bytes) -> Any:
    try:
        return repr(read(data))
    except (ValueError, RecursionError):
        return "refused"


@given(TEXTS)
def test_json_is_read_as_the_standard_library_reads_it(text: str) -> None:
    data = text.encode("utf-8", "surrogatepass")
    assert outcome(read_json, data) == outcome(json.loads, data)


@given(PIECES)
def test_what_is_not_json_is_refused_as_the_standard_library_does(text: str) -> None:
    data = text.encode()
    assert outcome(read_json, data) == outcome(json.loads, data)


@given(VALUES)
def test_what_is_written_reads_the_same(value: Any) -> None:
    try:
        expected = json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        with pytest.raises(ValueError, match="surrogates"):
            write_json(value)
        return
    assert repr(json.loads(write_json(value))) == repr(json.loads(expected))


@pytest.mark.parametrize("value", [float("nan"), [float("inf")], {"a": -float("inf")}, object()])
def test_what_json_can_not_say_is_refused(value: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        write_json(value)


def test_the_words_themselves_are_written() -> None:
    assert write_json(["NaN", "Infinity"]) == b'["NaN","Infinity"]'
