"""The route table, case by case."""

from __future__ import annotations

import pytest

from proxy.routing import Entry, Found, Missing, PatternError, RouteTable, parse_pattern


def table(*lines: str) -> RouteTable[str]:
    """A table of lines such as `GET,POST host /path`; the line itself is the route."""
    entries = []
    for line in lines:
        methods, *hosts, path = line.split()
        entries.append(Entry(tuple(hosts), tuple(methods.split(",")), parse_pattern(path), line))
    return RouteTable(entries)


def found(
    routes: RouteTable[str], path: str, *, method: str = "GET", host: str = "x.test"
) -> tuple[str, dict[str, str]]:
    """The route and the parameters that a request must find."""
    hit = routes.find(host, method, path)
    assert isinstance(hit, Found), hit
    return hit.route, dict(hit.params)


@pytest.mark.parametrize(
    ("path", "route", "params"),
    [
        ("/a", "GET /a", {}),
        ("/a/", "GET /a/", {}),
        ("/a/b", "GET /a/b", {}),
        ("/a/c", "GET /a/{x}", {"x": "c"}),
        ("/a/b/c", "GET /a/{rest:**}", {"rest": "b/c"}),
        ("/a/b/d", "GET /a/b/d", {}),
        ("/a/c/d", "GET /a/{x}/d", {"x": "c"}),
        ("/a/c/d/", "GET /a/{rest:**}", {"rest": "c/d/"}),
        ("/", "GET /{all:**}", {"all": ""}),
        ("/b/c", "GET /{all:**}", {"all": "b/c"}),
    ],
)
def test_the_most_specific_pattern_wins_segment_by_segment(path: str, route: str, params: dict[str, str]) -> None:
    patterns = ["/{all:**}", "/a/{rest:**}", "/a/{x}", "/a/{x}/d", "/a/b/d", "/a/b", "/a/", "/a"]
    assert found(table(*(f"GET {pattern}" for pattern in patterns)), path) == (route, params)


@pytest.mark.parametrize(("path", "rest"), [("/a", ""), ("/a/", ""), ("/a/b", "b"), ("/a/b/", "b/")])
def test_a_rest_takes_any_number_of_segments_also_none(path: str, rest: str) -> None:
    assert found(table("GET /a/{rest:**}"), path) == ("GET /a/{rest:**}", {"rest": rest})


def test_a_search_that_ends_nowhere_goes_back_to_a_less_specific_branch() -> None:
    routes = table("GET /a/b/c", "GET /{x}/b/d")
    assert found(routes, "/a/b/d") == ("GET /{x}/b/d", {"x": "a"})


@pytest.mark.parametrize("path", ["/ab", "/A", "/a/b", "/a/", "/", "//a"])
def test_a_literal_matches_nothing_but_itself(path: str) -> None:
    assert table("GET /a").find("x.test", "GET", path) == Missing("no-path")


def test_a_parameter_does_not_match_an_empty_segment() -> None:
    assert table("GET /a/{x}").find("x.test", "GET", "/a/") == Missing("no-path")


@pytest.mark.parametrize(
    ("host", "route"),
    [
        ("a.x.test", "GET a.x.test /p"),
        ("b.x.test", "GET *.x.test /p"),
        ("b.b.x.test", "GET /p"),
        ("x.test", "GET /p"),
        (".x.test", "GET /p"),
        ("", "GET /p"),
    ],
)
def test_an_exact_host_goes_before_a_wildcard_and_that_before_any(host: str, route: str) -> None:
    assert found(table("GET /p", "GET *.x.test /p", "GET a.x.test /p"), "/p", host=host) == (route, {})


def test_hosts_in_the_table_are_compared_without_regard_to_case() -> None:
    assert found(table("GET A.X.Test /p"), "/p", host="a.x.test")[0] == "GET A.X.Test /p"


def test_a_path_that_a_host_does_not_have_is_looked_for_among_the_routes_of_any_host() -> None:
    assert found(table("GET a.test /p", "GET /q"), "/q", host="a.test")[0] == "GET /q"


def test_the_path_is_chosen_before_the_method() -> None:
    assert table("POST /a/b", "GET /a/{x}").find("", "GET", "/a/b") == Missing("no-method", ("OPTIONS", "POST"))


def test_unsupported_method_gets_the_supported_ones() -> None:
    routes = table("GET /a/{x}", "DELETE /a/{y}")
    assert routes.find("", "PUT", "/a/b") == Missing("no-method", ("DELETE", "GET", "HEAD", "OPTIONS"))


def test_the_same_path_may_have_routes_by_method_with_their_own_parameter_names() -> None:
    routes = table("GET /a/{x}", "DELETE /a/{y}")
    assert found(routes, "/a/1", method="DELETE") == ("DELETE /a/{y}", {"y": "1"})


def test_head_is_served_by_get_where_no_route_names_it() -> None:
    assert found(table("GET /a"), "/a", method="HEAD")[0] == "GET /a"


def test_head_has_a_route_of_its_own_if_one_names_it() -> None:
    assert found(table("GET /a", "HEAD /a"), "/a", method="HEAD")[0] == "HEAD /a"


def test_of_two_routes_for_the_same_requests_the_first_one_wins() -> None:
    assert found(table("GET,POST /a", "POST,PUT /a"), "/a", method="POST")[0] == "GET,POST /a"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "starts with /"),
        ("a/b", "starts with /"),
        ("/a//b", "no empty"),
        ("/a/../b", "no empty, . or .."),
        ("/./a", "no empty, . or .."),
        ("/a/{x:**}/b", "only stand at the end"),
        ("/{x}/{x}", "x is there twice"),
        ("/{x}/{x:**}", "x is there twice"),
        ("/{x}y", "neither a plain segment"),
        ("/{}", "neither a plain segment"),
        ("/{x:*}", "neither a plain segment"),
        ("/{1}", "neither a plain segment"),
        ("/a b", "neither a plain segment"),
        ("/é", "neither a plain segment"),
        ("/a?b", "neither a plain segment"),
        ("/a\\b", "neither a plain segment"),
        ("/a\n", "neither a plain segment"),
    ],
)
def test_a_pattern_that_is_not_well_formed_is_refused_with_the_reason(text: str, why: str) -> None:
    with pytest.raises(PatternError, match=why):
        parse_pattern(text)
