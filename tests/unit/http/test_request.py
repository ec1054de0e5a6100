# ruff: noqa: E501 - data in lines
"""What the header fields of a request mean."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from proxy.errors import BadRequest
from proxy.http.header_plan import HeaderEdits, RequestPlan
from proxy.http.request import Peer, RequestFields

TRUSTED = (ip_network("127.0.0.0/8"),)


def fields(*lines: str) -> RequestFields:
    pairs = (line.partition(": ") for line in lines)
    return RequestFields([(name.encode("latin-1"), value.encode("latin-1")) for name, _, value in pairs], "sid")


@pytest.mark.parametrize(
    "lines",
    [
        ["host: a", "host: a"], ["host: a b"], ["host: a", "transfer-encoding: gzip"], ["host: a", "transfer-encoding: chunked, chunked"],
        ["host: a", "transfer-encoding: chunked", "transfer-encoding: chunked"],
    ],
)  # fmt: skip
def test_fields_that_are_wrong_carry_the_error(lines: list[str]) -> None:
    assert isinstance(fields(*lines).error, BadRequest)


def test_plain_fields_are_whole_and_carry_no_error() -> None:
    found = fields("Host: A.test:80", "content-length: 5", "User-Agent: ua", "Origin: http://a.test")
    assert (found.error, found.whole, found.close) == (None, True, False)
    assert (found.authority, found.host, found.content_length) == ("A.test:80", ("a.test", 80), 5)
    assert (found.user_agent, found.origin) == ("ua", "http://a.test")


@pytest.mark.parametrize("line", ["Upgrade: h2c", "Expect: 100-continue", "Transfer-Encoding: chunked"])
def test_fields_about_framing_or_upgrades_are_not_whole(line: str) -> None:
    assert not fields("host: a", line).whole


def test_fields_without_host_are_not_whole() -> None:
    assert not fields("accept: a").whole


@pytest.mark.parametrize(
    ("value", "close"), [("close", True), ("Keep-Alive, CLOSE", True), ("keep-alive", False), ("closed", False)]
)
def test_close_is_an_option_of_connection(value: str, close: bool) -> None:
    assert fields("host: a", f"connection: {value}").close is close


@pytest.mark.parametrize(
    ("lines", "kept"),
    [(["x-request-id: a.b-C_9"], b"a.b-C_9"), (["x-request-id: a b"], b""), (["x-request-id:", "x-request-id: b"], b"b"), (["x-request-id: " + "a" * 129], b""), ([], b"")],
)  # fmt: skip
def test_request_id_is_kept_if_it_is_well_formed(lines: list[str], kept: bytes) -> None:
    assert fields("host: a", *lines).request_id == kept


@pytest.mark.parametrize(
    ("lines", "wanted"),
    [
        (["connection: upgrade", "upgrade: websocket"], True), (["connection: keep-alive, Upgrade", "upgrade: h2c, WebSocket"], True), (["upgrade: websocket"], False),
        (["connection: upgrade", "upgrade: h2c"], False), (["connection: upgrade", "upgrade: websocket2"], False),
    ],
)  # fmt: skip
def test_websocket_is_wanted_if_connection_and_upgrade_say_so(lines: list[str], wanted: bool) -> None:
    assert fields("host: a", *lines).upgrades_to_websocket is wanted


def test_client_of_a_trusted_peer_is_what_it_reports() -> None:
    found = fields("host: a", "x-forwarded-for: 198.51.100.7:80", "x-forwarded-proto: wss")
    assert found.client(Peer("127.0.0.1", "http", trusted=True), TRUSTED) == ("198.51.100.7", "https")
    assert found.client(Peer("203.0.113.1", "http", trusted=False), TRUSTED) == ("203.0.113.1", "http")


def test_forwarded_lines_are_made_once_for_a_plan() -> None:
    found, plan = fields("host: a", "accept: b"), RequestPlan(HeaderEdits(), "sid")
    assert found.forwarded(plan) == b"accept: b\r\n"
    assert found.forwarded(plan) is found.forwarded(plan)


def test_other_plan_makes_lines_of_its_own() -> None:
    found = fields("host: a", "accept: b", "cookie: sid=1; c=d")
    assert found.forwarded(RequestPlan(HeaderEdits(remove=("accept",)), "sid")) == b"cookie: c=d\r\n"
    assert found.forwarded(RequestPlan(HeaderEdits(), "c")) == b"accept: b\r\ncookie: sid=1\r\n"
