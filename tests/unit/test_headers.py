"""Which headers travel, case by case."""

from __future__ import annotations

import pytest

from proxy.http.headers import named_by_connection, request_headers, response_headers, without_cookie

KEPT = ("accept", "text/plain")


@pytest.mark.parametrize(
    "name",
    [
        "Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authorization", "Proxy-Authenticate", "Proxy-Status",
        "TE", "Trailer", "Transfer-Encoding", "Upgrade", "transfer_encoding",
    ],
)  # fmt: skip
def test_what_is_for_one_connection_stays_behind(name: str) -> None:
    assert request_headers([(name, "x"), KEPT], None) == [KEPT]


@pytest.mark.parametrize(
    "name", ["Authorization", "X-Session-Token", "x_session_token", "X_Session-Token", "AUTHORIZATION"]
)
def test_what_carries_a_session_stays_behind(name: str) -> None:
    assert request_headers([(name, "secret"), KEPT], None) == [KEPT]


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
    assert request_headers([(name, "forged"), KEPT], None) == [KEPT]


@pytest.mark.parametrize("name", ["Host", "Content-Length", "Expect", "X-Request-Id"])
def test_what_the_gateway_writes_anew_stays_behind(name: str) -> None:
    assert request_headers([(name, "x"), KEPT], None) == [KEPT]


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
    assert request_headers([(name, "  v\xe9 ")], None) == [(name, "  v\xe9 ")]


def test_repeated_headers_stay_repeated_and_in_order() -> None:
    headers = [("A", "1"), ("b", "2"), ("a", "3"), ("A", "1")]
    assert request_headers(headers, None) == headers


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
    assert [name for name, _ in request_headers(headers, None)] == left


def test_connection_names_are_told_in_lower_case() -> None:
    headers = [("connection", "A, b"), ("CONNECTION", " c "), ("other", "d")]
    assert named_by_connection(headers) - {""} == {"a", "b", "c"}


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
    assert without_cookie(value, "token") == left


def test_a_cookie_header_with_the_session_alone_stays_behind() -> None:
    assert request_headers([("Cookie", "token=x"), KEPT], "token") == [KEPT]


def test_without_session_cookies_every_cookie_travels() -> None:
    assert request_headers([("Cookie", "token=x")], None) == [("Cookie", "token=x")]


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
        ("Set-Cookie", "a=1"),
        ("set-cookie", "b=2"),
        ("Content-Encoding", "gzip"),
        ("Vary", "x"),
        ("Server", "s"),
    ]
    assert response_headers(headers) == headers


def test_what_an_answers_connection_names_is_not_passed_on() -> None:
    assert response_headers([("X-Hop", "1"), ("Connection", "x-hop"), KEPT]) == [KEPT]


def test_a_cookie_field_of_nothing_travels_as_it_does_in_the_fast_lane() -> None:
    assert request_headers([("cookie", "")], "session_token") == [("cookie", "")]
