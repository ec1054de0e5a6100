"""Texts with stars: the same as a regular expression, but in a time that grows with the text only."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mock_server.matching import Glob


@pytest.mark.parametrize(
    ("glob", "text", "expected"),
    [
        ("/a/*/c", "/a/b/c", True),
        ("/a/*/c", "/a/b/b/c", False),
        ("/a/**/c", "/a/b/b/c", True),
        ("/a/**", "/a/", True),
        ("**", "", True),
        ("*", "a/b", False),
        ("/a.c", "/abc", False),
        ("/a", "/a/", False),
        ("*.json", "x.json\n", False),
    ],
)
def test_match(glob: str, text: str, expected: bool) -> None:
    assert Glob(glob).fullmatch(text) is expected


@given(st.lists(st.sampled_from(["a", "b", "/", "*", "**", "."])).map("".join), st.text("ab/."))
def test_glob_is_as_the_regular_expression(glob: str, text: str) -> None:
    parts = re.split(r"(\*\*|\*)", glob)
    expression = "".join({"**": ".*", "*": "[^/]*"}.get(part, re.escape(part)) for part in parts)
    assert Glob(glob).fullmatch(text) == (re.fullmatch(expression, text, re.DOTALL) is not None)


@pytest.mark.parametrize("star", ["*", "**"])
def test_many_stars_take_no_time(star: str) -> None:
    glob, before = Glob("/" + f"{star}a" * 200 + "b"), time.process_time()
    assert not glob.fullmatch("/" + "a" * 20_000)
    assert time.process_time() - before < 5  # of CPU; a regular expression would not end
