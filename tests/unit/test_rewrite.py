"""The path that a relayed request has upstream."""

from __future__ import annotations

import pytest

from proxy.errors import BadRequest
from proxy.http.location import Mount
from proxy.rewrite import Rewrite
from proxy.routing import Entry, Found, RouteTable, parse_pattern


def rewritten(template: str | None, pattern: str, path: str) -> str:
    table = RouteTable([Entry((), ("GET",), parse_pattern(pattern), 0)])
    found = table.find("", "GET", path)
    assert isinstance(found, Found)
    return Rewrite(template, parse_pattern(pattern)).apply(path, found.params)


@pytest.mark.parametrize(
    ("template", "pattern", "path", "expected"),
    [
        ("/api/{path}", "/noetl/{path:**}", "/noetl/a/b", "/api/a/b"),
        ("/api/{path}", "/noetl/{path:**}", "/noetl/", "/api/"),
        ("/api/{path}", "/noetl/{path:**}", "/noetl/a%20b;c", "/api/a%20b;c"),
        (None, "/plain/{path:**}", "/plain/a", "/plain/a"),
        ("/fixed", "/noetl/{path:**}", "/noetl/a", "/fixed"),
        ("/{y}/{x}", "/a/{x}/{y}", "/a/1/2", "/2/1"),
        ("/v/{x}/{rest}", "/a/{x}/{rest:**}", "/a/1/2/3", "/v/1/2/3"),
    ],
)
def test_template_is_filled_with_the_parameters(template: str | None, pattern: str, path: str, expected: str) -> None:
    assert rewritten(template, pattern, path) == expected


def test_result_with_dot_segments_is_refused() -> None:
    with pytest.raises(BadRequest):
        Rewrite("/a/.{x}/b", parse_pattern("/{x}")).apply("/.", {"x": "."})


@pytest.mark.parametrize(
    ("template", "pattern", "mount"),
    [
        ("/api/{path}", "/noetl/{path:**}", Mount("/api/", "/noetl/")),
        (None, "/plain/{path:**}", Mount("/plain/", "/plain/")),
        ("/fixed", "/noetl/{path:**}", None),
        ("/api/{path}", "/{x}/{path:**}", None),
        ("/api", "/one", None),
    ],
)
def test_mount_is_where_the_gateway_has_the_upstreams_paths(
    template: str | None, pattern: str, mount: Mount | None
) -> None:
    assert Rewrite(template, parse_pattern(pattern)).mount == mount
