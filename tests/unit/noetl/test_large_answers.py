"""What is known of a response whose end is missing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from proxy.noetl.large_answers import leading_members

WHOLE: dict[str, Any] = {"id": 12, "path": 'a/"b', "x": {"path": "no"}, "é": [1, 2.5, None], "last": "y" * 20}


@pytest.mark.parametrize("indent", [None, 2])
def test_all_members_that_are_whole(indent: int | None) -> None:
    data = json.dumps(WHOLE, indent=indent).encode()
    for end in range(len(data)):
        found = leading_members(data[:end])
        assert found == dict(list(WHOLE.items())[: len(found)])
    assert len(leading_members(data)) == len(WHOLE)


@pytest.mark.parametrize("data", [b"", b"[1]", b"x", b'{"a', b'{"a":', b'{"a":1', b"{1:2}", b'{"a":nul', b"\xff"])
def test_nothing(data: bytes) -> None:
    assert leading_members(data) == {}
