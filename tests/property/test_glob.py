"""Globs against a matcher that tries everything."""

from __future__ import annotations

from functools import cache
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.policy.glob import GlobError, covers, intersects, path_glob, text_glob

PIECES = st.text(alphabet="ab*?.+", max_size=4).filter(lambda piece: "**" not in piece)
GLOBS = st.lists(st.one_of(st.just("**"), PIECES), min_size=1, max_size=5).map("/".join).filter(bool)
TEXTS = st.one_of(
    st.lists(st.text(alphabet="ab.+", max_size=3), min_size=1, max_size=5).map("/".join),
    st.text(alphabet="ab/\n*", max_size=6),
)


@cache
def run_matches(glob: str, text: str, across: str) -> bool:
    """Whether `*` and `?`, which stand for any character but `across`, can be read so that the text matches."""
    if not glob:
        return not text
    if glob[0] == "*":
        rest = run_matches(glob[1:], text, across)
        return rest or (bool(text) and text[0] != across and run_matches(glob, text[1:], across))
    return (
        bool(text)
        and (glob[0] == text[0] or (glob[0] == "?" and text[0] != across))
        and run_matches(glob[1:], text[1:], across)
    )


def segments_match(glob: tuple[str, ...], text: tuple[str, ...]) -> bool:
    """The same for whole segments, `**` standing for any number of them."""
    if not glob:
        return not text
    if glob[0] == "**":
        return segments_match(glob[1:], text) or (bool(text) and segments_match(glob, text[1:]))
    return bool(text) and run_matches(glob[0], text[0], "/") and segments_match(glob[1:], text[1:])


def naive(glob: str, text: str) -> bool:
    return segments_match(tuple(glob.split("/")), tuple(text.split("/")))


@given(GLOBS, TEXTS)
def test_a_path_glob_matches_as_a_search_through_all_readings_does(glob: str, text: str) -> None:
    assert path_glob(glob).matches(text) is naive(glob, text)


@given(st.text(alphabet="ab*?.@/\n", min_size=1, max_size=8), st.text(alphabet="ab.@/\n", max_size=8))
def test_a_text_glob_matches_as_a_search_through_all_readings_does(glob: str, text: str) -> None:
    assert text_glob(glob).matches(text) is run_matches(glob, text, "")


@given(st.text(alphabet="ab/.+()[]{}^$|\\é\n", min_size=1))
def test_a_glob_without_wildcards_matches_itself_and_nothing_longer(text: str) -> None:
    glob = path_glob(text)
    assert glob.matches(text)
    assert not glob.matches(text + "a")


@given(
    st.text(alphabet="ab/", max_size=3),
    st.sampled_from(["a**", "**b", "***", "?**"]),
    st.text(alphabet="ab/", max_size=3),
)
def test_two_stars_are_refused_within_a_segment(before: str, segment: str, after: str) -> None:
    with pytest.raises(GlobError):
        path_glob(f"{before}/{segment}/{after}")


SMALL_GLOBS = ["/".join(parts) for size in (1, 2, 3) for parts in product(["**", "*", "?", "a*", "a"], repeat=size)]
SMALL_TEXTS = ["/".join(parts) for size in (1, 2, 3, 4) for parts in product(["", "a", "ab", "b"], repeat=size)]


@cache
def matched(glob: str) -> frozenset[str]:
    return frozenset(text for text in SMALL_TEXTS if naive(glob, text))


def test_a_glob_covers_another_only_if_it_matches_all_that_the_other_matches() -> None:
    pairs = product(SMALL_GLOBS, SMALL_GLOBS)
    assert [pair for pair in pairs if covers(*pair) and not matched(pair[0]) >= matched(pair[1])] == []


def test_globs_that_share_a_text_are_never_said_to_be_apart() -> None:
    pairs = product(SMALL_GLOBS, SMALL_GLOBS)
    assert [pair for pair in pairs if not intersects(*pair) and matched(pair[0]) & matched(pair[1])] == []


@pytest.mark.parametrize(
    ("wide", "narrow"),
    [
        ("**", "a/*"),
        ("a/**", "a"),
        ("a/**", "a/b/**"),
        ("a/*", "a/b"),
        ("a/*/c", "a/?*/c"),
        ("a*/**", "ab/c"),
        ("x/**", "x/**"),
    ],
)
def test_the_usual_wide_globs_cover_the_usual_narrow_ones(wide: str, narrow: str) -> None:
    assert covers(wide, narrow)


@given(GLOBS, GLOBS, TEXTS)
def test_globs_of_any_text_that_share_one_are_never_said_to_be_apart(one: str, other: str, text: str) -> None:
    if naive(one, text) and naive(other, text):
        assert intersects(one, other)


@pytest.mark.parametrize(
    ("one", "other"), [("a", "b"), ("a/**", "b/**"), ("a/*", "a/b/c"), ("a*", "b"), ("**/a", "**/b")]
)
def test_globs_without_common_text_are_disjoint(one: str, other: str) -> None:
    assert not intersects(one, other)


@given(GLOBS)
def test_a_glob_covers_and_meets_itself(glob: str) -> None:
    assert covers(glob, glob)
    assert intersects(glob, glob)
