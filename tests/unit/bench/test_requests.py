"""Requests as bytes and as files, and their verification."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import httpx
import pytest
import respx

from bench.programs import Program, WrongResponse
from bench.requests import UNIQUE, Request, read, verify, verify_relaying, write

URL = "http://127.0.0.1:1"
HEADERS = {"authorization": "Bearer t"}
GET = Request("get", "GET", "/a?x=@@@@@@@@", {"ok": True}, HEADERS, guarded=True)
POST = Request("post", "POST", "/b", {"id": ANY}, {}, '{"ä": "@@@@@@@@"}')


def test_request_has_host_fields_and_length() -> None:
    assert GET.to_bytes("h:1") == b"GET /a?x=@@@@@@@@ HTTP/1.1\r\nhost: h:1\r\nauthorization: Bearer t\r\n\r\n"
    head, _, body = POST.to_bytes("h:1").partition(b"\r\n\r\n")
    assert b"content-length: %d" % len(body) in head


def test_requests_come_back_from_their_file(tmp_path: Path) -> None:
    write([GET, POST, GET], "h:1", tmp_path / "x")
    assert read(tmp_path / "x") == [each.to_bytes("h:1") for each in (GET, POST, GET)]


def test_unique_mark_is_as_long_as_what_replaces_it() -> None:
    assert len(UNIQUE) == 8


def responding(get: object, post: object, *, guard: int = 401) -> Callable[[httpx.Request], httpx.Response]:
    def respond(request: httpx.Request) -> httpx.Response:
        if request.method == "GET" and "authorization" not in request.headers:
            return httpx.Response(guard)
        return httpx.Response(200, text=json.dumps(get if request.method == "GET" else post))

    return respond


@respx.mock(base_url=URL)
def test_verified_size_is_the_mean_over_the_list(respx_mock: respx.MockRouter) -> None:
    respx_mock.route().mock(side_effect=responding({"ok": True}, {"id": "1" * 1000}))
    only_get, mixed = verify([GET], URL), verify([GET, GET, GET, POST], URL)
    assert mixed == pytest.approx((3 * only_get + verify([POST], URL)) / 4)


@pytest.mark.parametrize(
    ("side_effect", "said"),
    [
        (responding({"ok": False}, {}), "GET /a.*unexpected response 200"),
        (responding({"ok": True}, {"name": "x"}), "POST /b: unexpected response 200"),
        (responding({"ok": True}, {"id": "1"}, guard=200), "without a session 401 was expected, not 200"),
        (httpx.ConnectError("refused"), "ConnectError: refused"),
    ],
)
def test_wrong_response_is_an_error_that_names_the_request(side_effect: Any, said: str) -> None:
    with respx.mock(base_url=URL) as router:
        router.route().mock(side_effect=side_effect)
        with pytest.raises(WrongResponse, match=said):
            verify([GET, POST], URL)


@pytest.mark.parametrize(("sent", "passes"), [(1, True), (0, False), (2, False)])
def test_responses_from_a_cache_and_superfluous_requests_upstream_are_noticed(sent: int, passes: bool) -> None:
    # As nginx counts: the count itself, and what the contender has sent.
    counts = iter([10, 11, 12, 13 + sent])
    with respx.mock() as router:
        text = "Active connections: 1\nserver accepts handled requests\n 1 1 {}\n"
        router.get("http://127.0.0.1:2/counted").mock(
            side_effect=lambda _: httpx.Response(200, text=text.format(next(counts)))
        )
        router.post(f"{URL}/b").respond(200)
        router.get(url__startswith=f"{URL}/a").respond(200)
        own = dataclasses.replace(GET, relayed=False)
        upstream = Program("upstream", (), 2, Path("x"), 0)
        with contextlib.nullcontext() if passes else pytest.raises(WrongResponse, match=f"made {sent} requests"):
            verify_relaying([POST, own], URL, upstream)
