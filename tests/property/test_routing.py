"""Route matching and path normalisation, against naive references."""

from __future__ import annotations

import re
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.http.target import PathError, normalise_path
from proxy.routing import Entry, Found, Missing, RouteTable, parse_pattern

WORDS = st.sampled_from(["a", "b", ".a"])
METHODS = st.sampled_from(["GET", "HEAD", "POST", "DELETE"])
HOSTS = st.sampled_from(["x.test", "y.x.test", "*.x.test"])
ASKED_HOSTS = st.sampled_from(["", "x.test", "y.x.test", "z.x.test", "z.y.x.test", ".x.test", "other"])
FORBIDDEN = re.compile(r"//|\\|[\x00-\x20\x7f-\U0010ffff]|%2f|%5c|%0|%1|%7f", re.IGNORECASE)

Line = tuple[tuple[str, ...], tuple[str, ...], str]


@st.composite
def patterns(draw: st.DrawFn) -> str:
    kinds = draw(st.lists(st.one_of(WORDS, st.none()), max_size=3))
    parts = [f"{{p{index}}}" if kind is None else kind for index, kind in enumerate(kinds)]
    end = draw(st.sampled_from(["", "slash", "rest"]))
    if end == "rest":
        parts.append("{rest:**}")
    elif end == "slash" or not parts:
        parts.append("")
    return "/" + "/".join(parts)


LINES = st.tuples(
    st.lists(HOSTS, max_size=2, unique=True).map(tuple),
    st.lists(METHODS, min_size=1, unique=True).map(tuple),
    patterns(),
)
TABLES = st.lists(LINES, max_size=8)
PATHS = st.lists(st.one_of(WORDS, st.just("")), min_size=1, max_size=5).map(lambda parts: "/" + "/".join(parts))


def match(pattern: str, path: str) -> dict[str, str] | None:
    """The parameters of a path, by one regular expression for the whole pattern."""
    text = re.escape(pattern)
    text = re.sub(r"/\\\{(\w+):\\\*\\\*\\\}$", r"(?:/(?P<\1>.*))?", text)
    text = re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", text)
    found = re.fullmatch(text, path)
    return None if found is None else {name: value or "" for name, value in found.groupdict().items()}


def rank(pattern: str) -> str:
    """Sorts the most specific pattern first: letters by segment, then the end before the rest."""
    marks = ""
    for part in pattern[1:].split("/"):
        marks += "d" if part.endswith(":**}") else "b" if part.startswith("{") else "a"
    return marks if marks.endswith("d") else marks + "c"


def host_rank(hosts: tuple[str, ...], host: str) -> int | None:
    """How well a line's hosts fit: 0 exactly, 1 by a wildcard, 2 without any; None not at all."""
    if host in hosts:
        return 0
    label, dot, parent = host.partition(".")
    if label and dot and f"*.{parent}" in hosts:
        return 1
    return None if hosts else 2


def naive(lines: list[Line], host: str, method: str, path: str) -> Any:
    """Which line serves the request, with parameters; or the methods it may be asked with; or None."""
    fitting = []
    for number, (hosts, methods, pattern) in enumerate(lines):
        fit, params = host_rank(hosts, host), match(pattern, path)
        if fit is not None and params is not None:
            fitting.append(((fit, rank(pattern)), number, methods, params))
    if not fitting:
        return None
    best = min(key for key, *_ in fitting)
    rivals = [entry for entry in fitting if entry[0] == best]
    for wanted in (method, "GET") if method == "HEAD" else (method,):
        for _, number, methods, params in rivals:
            if wanted in methods:
                return number, params
    known = {name for _, _, methods, _ in rivals for name in methods}
    return sorted(known | {"OPTIONS"} | ({"HEAD"} if "GET" in known else set()))


@settings(max_examples=500)
@given(TABLES, ASKED_HOSTS, METHODS, PATHS)
def test_a_table_finds_what_a_search_through_all_lines_finds(
    lines: list[Line], host: str, method: str, path: str
) -> None:
    table = RouteTable(
        Entry(hosts, methods, parse_pattern(pattern), number) for number, (hosts, methods, pattern) in enumerate(lines)
    )
    expected = naive(lines, host, method, path)
    found = table.find(host, method, path)
    if isinstance(found, Found):
        assert (found.route, dict(found.params)) == expected
    elif found.because == "no-method":
        assert list(found.allow) == expected
    else:
        assert found == Missing("no-path")
        assert expected is None


@given(st.lists(patterns(), min_size=1, max_size=5), PATHS)
def test_parameters_put_back_into_their_pattern_give_the_path(texts: list[str], path: str) -> None:
    found = RouteTable(Entry((), ("GET",), parse_pattern(text), text) for text in texts).find("", "GET", path)
    if isinstance(found, Found):
        assert found.route.replace(":**", "").format_map(found.params) in (path, path + "/")
    else:
        assert [text for text in texts if match(text, path) is not None] == []


GOOD = st.sampled_from(
    [
        "/",
        "/",
        "a",
        "Z",
        "~",
        ".",
        ".a",
        "%2e",
        "%41",
        "%7e",
        "%20",
        "%c3%A9",
        "%25",
        "%5B",
        ";",
        "{",
        "?",
        "%252e",
        "-",
    ]
)
BAD = st.sampled_from(["..", "%2E%2e", "%2f", "%5C", "%00", "%1f", "%", "%2", "%zz", "\\", " ", "é", "\n", "\x7f"])
ACCEPTABLE = st.lists(GOOD, max_size=12).map(lambda parts: "/" + "".join(parts))
SPOILED = st.builds("{}{}{}".format, ACCEPTABLE, BAD, ACCEPTABLE)
RAW = st.one_of(ACCEPTABLE, SPOILED, st.text(max_size=12))


def normalised(raw: str) -> str:
    """The path as it would be passed on; `/` for one that is refused."""
    try:
        return normalise_path(raw)
    except PathError:
        return "/"


@given(RAW)
def test_normalising_twice_changes_nothing_more(raw: str) -> None:
    once = normalised(raw)
    assert normalise_path(once) == once


@given(RAW)
def test_a_normalised_path_has_nothing_that_reads_in_two_ways(raw: str) -> None:
    path = normalised(raw)
    assert path.startswith("/")
    assert not FORBIDDEN.search(path)
    assert not {".", ".."} & set(path.split("/"))


@given(RAW)
def test_every_escape_that_is_left_is_in_upper_case_and_needed(raw: str) -> None:
    for digits in re.findall("%(.{0,2})", normalised(raw)):
        assert re.fullmatch("[0-9A-F]{2}", digits)
        assert not re.fullmatch(r"[A-Za-z0-9._~-]", chr(int(digits, 16)))


@given(st.lists(st.sampled_from(["a", "b.c", "..a", "a..", "...", "%20", "~", "", ".", "x;y=1", "@"]), max_size=6))
def test_a_path_without_unusual_spelling_only_loses_empty_and_dot_segments(segments: list[str]) -> None:
    raw = "/" + "/".join(segments)
    kept = [segment for segment in segments if segment not in ("", ".")]
    closed = bool(kept) and segments[-1] in ("", ".")
    assert normalise_path(raw) == "/" + "/".join(kept) + ("/" if closed else "")


@given(RAW, RAW)
def test_a_parent_segment_is_refused_wherever_it_stands(before: str, after: str) -> None:
    for spelling in ("..", "%2e.", ".%2E", "%2e%2e"):
        try:
            path = normalise_path(f"/{before}/{spelling}/{after}")
        except PathError:
            continue
        raise AssertionError(f"{path} was passed on")
