"""Which header fields are forwarded, case by case."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.http.credentials import without_cookie
from proxy.http.header_plan import HeaderEdits, RequestPlan, ResponsePlan
from proxy.http.headers import connection_options
from proxy.http.location import Locations

KEPT = ("accept", "text/plain")
NO_EDITS = HeaderEdits()
Fields = list[tuple[str, str]]


def parsed(lines: bytes) -> Fields:
    """The fields of a head's lines."""
    assert lines == b"" or lines.endswith(b"\r\n")
    pairs = (line.partition(": ") for line in lines.decode("latin-1").split("\r\n")[:-1])
    return [(name, value) for name, _, value in pairs]


def raw(fields: Fields) -> list[tuple[bytes, bytes]]:
    """Fields as a parser gives them."""
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in fields]


def request_headers(fields: Fields, cookie: str = "token", edits: HeaderEdits = NO_EDITS) -> Fields:
    """The fields that go upstream."""
    return parsed(RequestPlan(edits, cookie).lines(raw(fields)))


def response_headers(fields: Fields, edits: HeaderEdits = NO_EDITS) -> Fields:
    """The fields that the client gets."""
    plan = ResponsePlan(edits, vary=(), no_store=False, nosniff=False, session_cookie="token", locations=Locations())
    lowered = [(name.lower(), value) for name, value in raw(fields)]
    head = plan.head(200, b"OK", lowered, chunked=False).lines
    start, _, lines = head.partition(b"\r\n")
    assert start == b"HTTP/1.1 200 OK"
    return parsed(lines)


@pytest.mark.parametrize(
    "name",
    [
        "Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authorization", "Proxy-Authenticate", "Proxy-Status",
        "TE", "Trailer", "Transfer-Encoding", "Upgrade", "transfer_encoding",
    ],
)  # fmt: skip
def test_what_is_for_one_connection_stays_behind(name: str) -> None:
    assert request_headers([(name, "x"), KEPT]) == [KEPT]


@pytest.mark.parametrize(
    "name", ["Authorization", "X-Session-Token", "x_session_token", "X_Session-Token", "AUTHORIZATION"]
)
def test_what_carries_a_session_stays_behind(name: str) -> None:
    assert request_headers([(name, "secret"), KEPT]) == [KEPT]


@pytest.mark.parametrize(
    "name",
    [
        "X-User-Id", "x_user_id", "X_USER-ID", "X-User-Email", "X-User-Roles", "x-user_roles", "X-Forwarded-For",
        "x_forwarded_for", "X-Forwarded-Proto", "X-Forwarded-Host", "Forwarded", "Via", "X-Real-IP",
        "CF-Connecting-IP", "cf_connecting_ip", "True-Client-IP", "X-Original-URL", "X-Rewrite-URL",
        "X-HTTP-Method-Override", "X_Anything",
    ],
)  # fmt: skip
def test_what_only_the_gateway_may_say_stays_behind(name: str) -> None:
    assert request_headers([(name, "forged"), KEPT]) == [KEPT]


@pytest.mark.parametrize("name", ["Host", "Content-Length", "Expect", "X-Request-Id"])
def test_what_the_gateway_writes_anew_stays_behind(name: str) -> None:
    assert request_headers([(name, "x"), KEPT]) == [KEPT]


@pytest.mark.parametrize(
    "name",
    [
        "Accept",
        "Content-Type",
        "Content-Encoding",
        "Cookie",
        "Range",
        "If-None-Match",
        "X-Custom",
        "my_field",
        "Origin",
    ],
)
def test_anything_else_travels_with_its_name_as_it_was_written(name: str) -> None:
    assert request_headers([(name, "  v\xe9 ")]) == [(name, "  v\xe9 ")]


def test_repeated_headers_stay_repeated_and_in_order() -> None:
    headers = [("A", "1"), ("b", "2"), ("a", "3"), ("A", "1")]
    assert request_headers(headers) == headers


@pytest.mark.parametrize(
    ("connection", "left"),
    [
        (["X-A"], ["X-B", "c_d"]),
        (["x-a, X-B"], ["c_d"]),
        (["close", "x-b"], ["X-A", "c_d"]),
        ([" ,x-a,,"], ["X-B", "c_d"]),
        (["c_d"], ["X-A", "X-B"]),
        (["c-d"], ["X-A", "X-B"]),
        (["X-A\t"], ["X-B", "c_d"]),
        ([""], ["X-A", "X-B", "c_d"]),
    ],
)
def test_what_connection_names_stays_behind(connection: list[str], left: list[str]) -> None:
    headers = [("X-A", "1"), ("X-B", "2"), ("c_d", "3"), *(("Connection", value) for value in connection)]
    assert [name for name, _ in request_headers(headers)] == left


def test_connection_options_are_returned_in_lower_case() -> None:
    headers = [("connection", "A, b"), ("CONNECTION", " c "), ("other", "d")]
    assert connection_options([value.encode() for name, value in headers if name.lower() == "connection"]) == {
        b"a",
        b"b",
        b"c",
    }


@pytest.mark.parametrize(
    ("value", "left"),
    [
        ("a=1; token=x; b=2", "a=1; b=2"),
        ("token=x", ""),
        ("token=x; token=y", ""),
        ("token = x;a=1", "a=1"),
        ("token", ""),
        ("a=1;b=2", "a=1;b=2"),
        (" a=1 ;; b=2 ", " a=1 ;; b=2 "),
        ("Token=x", "Token=x"),
        ("xtoken=x", "xtoken=x"),
        ("a=token=x", "a=token=x"),
        ('a="b; token=x"', 'a="b'),
    ],
)
def test_one_cookie_is_taken_out_of_a_cookie_header(value: str, left: str) -> None:
    assert without_cookie(value.encode(), b"token") == left.encode()


def test_a_cookie_header_with_the_session_alone_stays_behind() -> None:
    assert request_headers([("Cookie", "token=x"), KEPT]) == [KEPT]


@pytest.mark.parametrize(
    "name",
    [
        "Connection", "Keep-Alive", "Proxy-Authenticate", "Trailer", "Transfer-Encoding", "Upgrade", "X-Request-Id",
        "Access-Control-Allow-Origin", "access-control-expose-headers",
    ],
)  # fmt: skip
def test_an_answers_connection_and_origin_policy_are_not_passed_on(name: str) -> None:
    assert response_headers([(name, "x"), KEPT]) == [KEPT]


def test_an_answers_other_headers_are_passed_on_as_they_are() -> None:
    headers = [
        ("set-cookie", "a=1"),
        ("set-cookie", "b=2"),
        ("content-encoding", "gzip"),
        ("vary", "x"),
        ("server", "s"),
    ]
    assert response_headers(headers) == headers


def test_what_an_answers_connection_names_is_not_passed_on() -> None:
    assert response_headers([("X-Hop", "1"), ("Connection", "x-hop"), KEPT]) == [KEPT]


def test_empty_cookie_field_is_forwarded() -> None:
    assert request_headers([("cookie", "")]) == [("cookie", "")]


EDITS = HeaderEdits({"x-custom": "new", "Origin": "http://o.test"}, ("Cookie", "user-agent"))


def test_request_edits_remove_and_set_fields_in_any_case() -> None:
    fields = [("X-Custom", "1"), ("x_custom", "2"), ("origin", "o"), ("cookie", "a=b"), ("User-Agent", "ua"), KEPT]
    assert request_headers(fields, edits=EDITS) == [KEPT, ("x-custom", "new"), ("Origin", "http://o.test")]


def test_response_edits_remove_and_set_fields() -> None:
    fields = [("x-custom", "1"), ("user-agent", "ua"), ("accept", "a")]
    assert response_headers(fields, EDITS) == [("accept", "a"), ("x-custom", "new"), ("Origin", "http://o.test")]


@pytest.mark.parametrize("value", ["token=x", "token = x; path=/", "token"])
def test_upstream_set_cookie_of_the_session_cookie_is_dropped(value: str) -> None:
    assert response_headers([("set-cookie", value), ("set-cookie", "other=1")]) == [("set-cookie", "other=1")]


def head_of(fields: Fields, **settings: Any) -> Fields:
    plan = ResponsePlan(
        HeaderEdits(),
        vary=settings.get("vary", ()),
        nosniff=settings.get("nosniff", False),
        no_store=settings.get("no_store", False),
        session_cookie="token",
        locations=Locations(),
    )
    return parsed(
        plan.head(200, b"OK", raw(fields), chunked=settings.get("chunked", False)).lines.partition(b"\r\n")[2]
    )


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([], ["origin, authorization"]),
        (["accept"], ["accept", "origin, authorization"]),
        (["Origin"], ["Origin", "authorization"]),
        (["*"], ["*"]),
        (["accept, Authorization"], ["accept, Authorization", "origin"]),
        (["accept, origin", "authorization"], ["accept, origin", "authorization"]),
    ],
)
def test_vary_names_what_the_response_depends_on_once(given: list[str], expected: list[str]) -> None:
    found = head_of([("vary", value) for value in given], vary=("origin", "authorization"))
    assert found == [("vary", value) for value in expected]


@pytest.mark.parametrize("given", [[], ["nosniff"], ["NoSniff"], ["other"], ["other", "nosniff"]])
def test_nosniff_is_there_once_whatever_the_upstream_sends(given: list[str]) -> None:
    fields = [("x-content-type-options", value) for value in given]
    assert head_of(fields, nosniff=True) == [("x-content-type-options", "nosniff")]
    assert head_of(fields) == fields


@pytest.mark.parametrize(
    ("edits", "expected"),
    [
        (HeaderEdits(remove=("X-Content-Type-Options", "vary", "Cache-Control")), []),
        (HeaderEdits(set={"x-content-type-options": "a"}, remove=("vary", "cache-control")), ["a"]),
    ],
)
def test_edits_of_a_route_replace_what_the_gateway_adds(edits: HeaderEdits, expected: list[str]) -> None:
    plan = ResponsePlan(
        edits, vary=("origin",), no_store=True, nosniff=True, session_cookie="token", locations=Locations()
    )
    lines = plan.head(200, b"OK", raw([("x-content-type-options", "b")]), chunked=False).lines
    assert [value for _, value in parsed(lines.partition(b"\r\n")[2])] == expected


def test_no_store_is_added_only_without_cache_control() -> None:
    assert head_of([], no_store=True) == [("cache-control", "no-store")]
    assert head_of([("cache-control", "max-age=5")], no_store=True) == [("cache-control", "max-age=5")]


def test_content_length_of_a_chunked_body_is_dropped() -> None:
    assert head_of([("content-length", "5"), KEPT], chunked=True) == [KEPT]


def test_values_and_reason_keep_their_bytes() -> None:
    plan = ResponsePlan(
        HeaderEdits(), vary=(), no_store=False, nosniff=False, session_cookie="token", locations=Locations()
    )
    value = "attachment; filename=日本ä.txt".encode()
    head = plan.head(200, b"Se\xf1or", [(b"content-disposition", value)], chunked=False)
    assert head.lines == b"HTTP/1.1 200 Se\xf1or\r\ncontent-disposition: " + value + b"\r\n"
