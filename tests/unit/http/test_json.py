"""The text of JSON in bytes is what the standard library reads in them."""

from __future__ import annotations

import json

import pytest

from proxy.http.json import json_text


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le"])
@pytest.mark.parametrize("value", [{"a": "b"}, "", 1, [], {"é": "ü"}, "x"])
def test_every_encoding_that_json_loads_reads_is_read(encoding: str, value: object) -> None:
    data = json.dumps(value, ensure_ascii=False).encode(encoding)
    assert json.loads(json_text(data)) == json.loads(data) == value


def test_what_is_no_text_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="decode"):
        json_text(b'{"a": "\xff"}')
