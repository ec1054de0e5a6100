"""Globs, case by case."""

from __future__ import annotations

import time

import pytest

from proxy.policy.glob import GlobError, covers, intersects, path_glob, text_glob


@pytest.mark.parametrize(
    ("glob", "yes", "no"),
    [
        ("a", ["a"], ["", "A", "ab", "a/", "/a", "a\n"]),
        ("a/b", ["a/b"], ["a", "a/b/c", "a//b"]),
        ("a?", ["ab", "a?"], ["a", "a/", "abc"]),
        ("a*", ["a", "ab", "abc", "a\n"], ["a/b", "ba"]),
        ("a*b*c", ["abc", "aXbYc"], ["ab", "a/b/c"]),
        ("a/*", ["a/b", "a/"], ["a", "a/b/c"]),
        ("**", ["", "a", "a/b", "/", "a\nb"], []),
        ("a/**", ["a", "a/", "a/b", "a/b/c"], ["ab", "b/a", "A/b"]),
        ("**/b", ["b", "a/b", "a/c/b"], ["ab", "b/a"]),
        ("a/**/b", ["a/b", "a/x/b", "a/x/y/b"], ["ab", "a/xb", "a/b/c"]),
        ("a/**/**/b", ["a/b", "a/x/b"], ["a/xb"]),
        ("**/a/**", ["a", "x/a", "a/x", "x/a/y"], ["xa", "ax"]),
        ("/noetl/**", ["/noetl", "/noetl/a"], ["noetl", "/noetlx", "/x/noetl"]),
        ("a.b+c", ["a.b+c"], ["aXb+c", "a.bbc"]),
        ("[a]", ["[a]"], ["a"]),
        ("{a,b}", ["{a,b}"], ["a"]),
        ("a\\*", ["a\\", "a\\b"], ["a*"]),
    ],
)
def test_a_path_glob_matches_what_it_says_and_no_more(glob: str, yes: list[str], no: list[str]) -> None:
    compiled = path_glob(glob)
    assert [text for text in yes if not compiled.matches(text)] == []
    assert [text for text in no if compiled.matches(text)] == []


@pytest.mark.parametrize(
    ("glob", "yes", "no"),
    [
        ("*@x.test", ["a@x.test", "@x.test", "a/b@x.test"], ["a@x.testy", "a@X.test", "a@xytest"]),
        ("a?@x.test", ["ab@x.test"], ["a@x.test", "abc@x.test"]),
        ("a**b", ["ab", "axb"], ["a"]),
        ("a@x.test", ["a@x.test"], ["b@x.test", "a@x.test\n"]),
    ],
)
def test_a_text_glob_matches_what_it_says_and_no_more(glob: str, yes: list[str], no: list[str]) -> None:
    compiled = text_glob(glob)
    assert [text for text in yes if not compiled.matches(text)] == []
    assert [text for text in no if compiled.matches(text)] == []


@pytest.mark.parametrize("text", ["", "a**", "**a", "a/**b", "***", "a/***"])
def test_a_path_glob_that_is_not_well_formed_is_refused(text: str) -> None:
    with pytest.raises(GlobError):
        path_glob(text)


def test_an_empty_text_glob_is_refused() -> None:
    with pytest.raises(GlobError):
        text_glob("")


@pytest.mark.parametrize(
    ("glob", "text"),
    [
        ("*a*a*a*a*b", "a" * 16000),
        ("*ab*ab*ab*c", "ab" * 8000),
        ("**/a/**/a/**/a/**/b", "a/" * 8000),
        ("**/*a*/**/*a*/**/*a*/b", "aa/" * 5000),
    ],
)
def test_no_text_makes_a_glob_try_many_ways(glob: str, text: str) -> None:
    started = time.process_time()
    assert not path_glob(glob).matches(text)
    assert time.process_time() - started < 1


def test_no_text_makes_a_text_glob_try_many_ways() -> None:
    started = time.process_time()
    assert not text_glob("*a*a*a*a@x.test").matches("a" * 16000)
    assert time.process_time() - started < 1


@pytest.mark.parametrize(
    ("wide", "narrow", "expected"),
    [
        ("**", "a/**/b", True),
        ("a/**", "a", True),
        ("a/**", "a/b/**", True),
        ("a/*", "a/b", True),
        ("a/*", "a/?", True),
        ("a/b*", "a/bc", True),
        ("*/**", "a/b", True),
        ("a/b", "a/*", False),
        ("a/*", "a/b/c", False),
        ("a/*", "a/**", False),
        ("a/*/**", "a/**", False),
        ("a/**", "**", False),
        ("a/**", "ab", False),
        ("?", "*", False),
    ],
)
def test_glob_covering_is_reported_only_if_certain(wide: str, narrow: str, expected: bool) -> None:
    assert covers(wide, narrow) is expected


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("a/**", "a", True),
        ("a/**", "**/b", True),
        ("a/*", "a/b", True),
        ("a/*", "*/b", True),
        ("a/**/b", "a/b", True),
        ("a", "b", False),
        ("a/**", "b/**", False),
        ("a/*", "a/b/c", False),
        ("a/b*", "a/cd", False),
    ],
)
def test_globs_meet_in_either_order(one: str, other: str, expected: bool) -> None:
    assert (intersects(one, other), intersects(other, one)) == (expected, expected)
