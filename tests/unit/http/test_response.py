# ruff: noqa: E501 - data in lines
"""Responses of the gateway's own, and how any response is framed."""

from __future__ import annotations

import pytest

from proxy.errors import NotFound
from proxy.http.response import HSTS, SECURITY, OwnHeads, Response, error_response, framing

HEADS = OwnHeads(SECURITY, HSTS)


@pytest.mark.parametrize(
    ("method", "status", "length", "http_1_0", "line", "by_close"),
    [
        ("GET", 200, 5, False, b"", False), ("GET", 200, None, False, b"transfer-encoding: chunked\r\n", False), ("GET", 200, None, True, b"", True),
        ("HEAD", 200, None, False, b"", False), ("HEAD", 200, None, True, b"", False), ("GET", 204, None, False, b"", False), ("GET", 304, None, True, b"", False),
    ],
)  # fmt: skip
def test_body_of_unknown_length_goes_out_in_chunks_or_until_close(
    method: str, status: int, length: int | None, http_1_0: bool, line: bytes, by_close: bool
) -> None:
    how = framing(method, status, length, http_1_0=http_1_0)
    assert (how.line, how.by_close, how.chunked) == (line, by_close, bool(line))


def test_response_to_head_has_the_length_and_no_body() -> None:
    made = HEADS.bytes(Response(200, (), b"abc"), "HEAD", "http", b"")
    assert b"content-length: 3\r\n" in made
    assert made.endswith(b"\r\n\r\n")


def test_204_has_no_length() -> None:
    assert b"content-length" not in HEADS.bytes(Response(204, ()), "GET", "http", b"")


def test_hsts_is_added_behind_tls_only() -> None:
    assert b"strict-transport-security" in HEADS.start(Response(200, ()), "https")
    assert b"strict-transport-security" not in HEADS.start(Response(200, ()), "http")


def test_security_field_of_a_response_is_not_added_twice() -> None:
    response = Response(200, (("content-security-policy", "own"),))
    assert HEADS.start(response, "http").count(b"content-security-policy: ") == 1


def test_error_names_its_request_and_shows_no_detail() -> None:
    response = error_response(NotFound("Execution not found", detail="upstream at 10.0.0.1"), b"id-1")
    assert (response.status, response.body) == (404, b'{"error":"Execution not found","request_id":"id-1"}')
