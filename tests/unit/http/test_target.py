"""Request targets: the one normalised path, the query byte for byte, and what is refused."""

from __future__ import annotations

import pytest

from proxy.errors import BadRequest, MethodNotAllowed
from proxy.http.target import PathError, is_normal, normalise_path, read_target


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        ("/", "/"),
        ("/a/b", "/a/b"),
        ("/a/b/", "/a/b/"),
        ("//a", "/a"),
        ("/a//b", "/a/b"),
        ("/a//", "/a/"),
        ("/./a/./b/.", "/a/b/"),
        ("/%2e/a", "/a"),
        ("/a/%2E", "/a/"),
        ("/%61%7Eb", "/a~b"),
        ("/a%20b", "/a%20b"),
        ("/%c3%a9", "/%C3%A9"),
        ("/a%3fb", "/a%3Fb"),
        ("/%252e%252e", "/%252e%252e"),
        ("/%252f", "/%252f"),
        ("/a;x=..;/b", "/a;x=..;/b"),
        ("/...", "/..."),
        ("/..a/a..", "/..a/a.."),
        ("/.well-known/x", "/.well-known/x"),
        ("/a?b", "/a?b"),
    ],
)
def test_a_path_is_brought_into_its_one_form(raw: str, path: str) -> None:
    assert normalise_path(raw) == path


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        ("", "must start with /"),
        ("a", "must start with /"),
        ("*", "must start with /"),
        ("http://x.test/", "must start with /"),
        ("/..", r"must not contain \.\."),
        ("/a/../b", r"must not contain \.\."),
        ("/a/%2e%2e/b", r"must not contain \.\."),
        ("/a/.%2E", r"must not contain \.\."),
        ("/a/%2e./", r"must not contain \.\."),
        ("/a%2fb", "encoded character"),
        ("/a%2Fb", "encoded character"),
        ("/..%2f", "encoded character"),
        ("/a%5cb", "encoded character"),
        ("/a%00", "encoded character"),
        ("/a%0d%0a", "encoded character"),
        ("/a%7f", "encoded character"),
        ("/a\\b", "character that must not"),
        ("/a b", "character that must not"),
        ("/a\tb", "character that must not"),
        ("/a\r\n", "character that must not"),
        ("/a\x00", "character that must not"),
        ("/a\x7f", "character that must not"),
        ("/é", "character that must not"),
        ("/a\u2215b", "character that must not"),
        ("/%", "bad URL encoding"),
        ("/%4", "bad URL encoding"),
        ("/%zz", "bad URL encoding"),
        ("/%-1", "bad URL encoding"),
        ("/%4\u0661", "bad URL encoding"),
    ],
)
def test_a_path_that_could_be_read_in_two_ways_is_refused(raw: str, why: str) -> None:
    with pytest.raises(PathError, match=why):
        normalise_path(raw)


@pytest.mark.parametrize(
    ("target", "authority", "path", "query"),
    [
        ("/a", "h", "/a", ""),
        ("/a?", "h", "/a", "?"),
        ("/a?b=%41&c?d", "h", "/a", "?b=%41&c?d"),
        ("http://h/a?b", "h", "/a", "?b"),
        ("HTTP://H:80/a", "h:80", "/a", ""),
        ("https://h", "h", "/", ""),
    ],
)
def test_target_is_path_and_query(target: str, authority: str, path: str, query: str) -> None:
    assert read_target("GET", target, authority) == (path, query)


def test_asterisk_is_the_root_for_options_only() -> None:
    assert read_target("OPTIONS", "*", "h") == ("/", "")
    with pytest.raises(BadRequest):
        read_target("GET", "*", "h")


@pytest.mark.parametrize("method", ["TRACE", "CONNECT"])
def test_refused_method_is_405_with_the_allowed_ones(method: str) -> None:
    with pytest.raises(MethodNotAllowed) as caught:
        read_target(method, "/", "h")
    assert dict(caught.value.headers)["allow"].startswith("GET, HEAD")


@pytest.mark.parametrize(
    "target",
    ["http://other/a", "http://h:1/a", "http://u@h/a", "/a#b", "/a?b#c", "/a?b c", "/a?\xe9", "", "a", "ftp://h/a"],
)
def test_malformed_target_is_refused(target: str) -> None:
    with pytest.raises(BadRequest):
        read_target("GET", target, "h")


@pytest.mark.parametrize("path", ["/", "/a", "/a/", "/a/b-c_d~e", "/a;x=1", "/a:b@c"])
def test_normal_path_is_known_as_normal(path: str) -> None:
    assert is_normal(path)
    assert normalise_path(path) == path


@pytest.mark.parametrize("path", ["//a", "/a//b", "/./a", "/../a", "/%61", "", "a", "/a\\b", "/a b"])
def test_other_path_is_not_known_as_normal(path: str) -> None:
    assert not is_normal(path)


@pytest.mark.parametrize("path", ["/a/..;/b", "/..;x=1", "/.;/a", "/%2e%2e;/a", "/a/.%2e/b"])
def test_dot_segment_with_a_parameter_is_refused(path: str) -> None:
    with pytest.raises(PathError):
        normalise_path(path)
