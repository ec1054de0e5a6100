"""Request targets: the one normalised path, the query byte for byte, and what is refused."""

from __future__ import annotations

import pytest

from proxy.errors import BadRequest, MethodNotAllowed
from proxy.http.target import KnownPaths, PathError, is_normal, normalise_path, read_target


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


@pytest.mark.parametrize(
    "path", ["/a/..;/b", "/..;x=1", "/.;/a", "/%2e%2e;/a", "/a/.%2e/b", "/a/..%3b/b", "/%2e%2e%3Bx=1", "/.%3b"]
)
def test_dot_segment_with_a_parameter_is_refused(path: str) -> None:
    with pytest.raises(PathError):
        normalise_path(path)


@pytest.mark.parametrize(
    ("line", "path", "query"),
    [
        (b"GET /noetl/executions/42/status HTTP/1.1", "/noetl/executions/42/status", ""),
        (b"GET /noetl/executions/42?page=1&page_size=100 HTTP/1.1", "/noetl/executions/42", "?page=1&page_size=100"),
        (b"GET /x? HTTP/1.1", "/x", "?"),
        (b"GET /x??/../.// HTTP/1.1", "/x", "??/.././/"),
        (b"POST / HTTP/1.1", "/", ""),
        (b"DELETE /a/ HTTP/1.1", "/a/", ""),
    ],
)
def test_plain_line_is_read_as_the_parser_would(line: bytes, path: str, query: str) -> None:
    paths = KnownPaths()
    for _ in range(2):
        found = paths.read_line(line)
        assert found is not None
        method = line.partition(b" ")[0].decode()
        assert (found[0].method, found[0].path, found[1]) == (method, path, query)
        assert read_target(method, path + query, "h") == (path, query)


@pytest.mark.parametrize(
    "line",
    [
        b"GET /x HTTP/1.0",
        b"GET /x HTTP/1.1 ",
        b"GET /x",
        b"GET  /x HTTP/1.1",
        b"GET /x  HTTP/1.1",
        b"GET /x HTTP/1.1 HTTP/1.1",
        b"GET x HTTP/1.1",
        b"GET //x HTTP/1.1",
        b"GET /x//y HTTP/1.1",
        b"GET /. HTTP/1.1",
        b"GET /x/../y HTTP/1.1",
        b"GET /x%2Fy HTTP/1.1",
        b"GET /%78 HTTP/1.1",
        b"GET /x#y HTTP/1.1",
        b"GET /x?y#z HTTP/1.1",
        b"GET /x?y z HTTP/1.1",
        b"GET /x?\xc3\xa4 HTTP/1.1",
        b"GET /x?y\nz HTTP/1.1",
        b"GET /\xe4 HTTP/1.1",
        b"GET http://h/x HTTP/1.1",
        b"OPTIONS * HTTP/1.1",
        b"CONNECT h:1 HTTP/1.1",
        b"TRACE / HTTP/1.1",
        b"get /x HTTP/1.1",
        b"",
        b" HTTP/1.1",
        b"?",
    ],
)
def test_any_other_line_is_left_to_the_parser(line: bytes) -> None:
    paths = KnownPaths()
    paths.of("GET", "/x")  # what is known must not open the door to what looks like it
    assert paths.read_line(line) is None


def test_a_path_is_known_however_it_came() -> None:
    paths = KnownPaths()
    known = paths.of("GET", "/x")
    assert paths.of("GET", "/x") is known
    assert paths.of("POST", "/x") is not known
    assert paths.read_line(b"GET /x HTTP/1.1") == (known, "")
    assert paths.read_line(b"GET /x?a=1 HTTP/1.1") == (known, "?a=1")


def test_long_paths_are_not_kept() -> None:
    paths, path = KnownPaths(), "/" + "x" * 600
    assert paths.of("GET", path) is not paths.of("GET", path)
