# ruff: noqa: E501 - data in lines
"""Hosts and origins: what is the same, and what is malformed."""

from __future__ import annotations

import pytest

from proxy.errors import BadRequest
from proxy.http.origin import Host, normal_scheme, origin_of, read_host, read_origin


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("name", Host("name", None)), ("NAME", Host("name", None)), ("name.", Host("name", None)), ("name:", Host("name", None)),
        ("name.:", Host("name", None)), ("name:443", Host("name", 443)), ("a.b-c_d", Host("a.b-c_d", None)), ("192.0.2.1:80", Host("192.0.2.1", 80)),
        ("[2001:DB8::1]", Host("[2001:db8::1]", None)), ("[::1]:8443", Host("[::1]", 8443)),
    ],
)  # fmt: skip
def test_every_spelling_of_a_host_is_that_host(text: str, host: Host) -> None:
    assert read_host(text) == host


@pytest.mark.parametrize(
    "text",
    ["", ".", ":80", "a b", "a/b", "a@b", "a:b", "a:65536", "a:1:2", "::1", "[::1", "[g::]", "a,b", "\xe9", "a\n"],
)
def test_malformed_host_is_refused(text: str) -> None:
    with pytest.raises(BadRequest, match="Bad Host header"):
        read_host(text)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("http://a.test", "http://a.test:80"), ("https://a.test", "https://a.test:443"), ("HTTPS://A.test", "https://a.test"),
        ("wss://a.test", "https://a.test"), ("ws://a.test", "http://a.test:80"), ("https://a.test.", "https://a.test"), ("https://a.test/", "https://a.test"),
    ],
)  # fmt: skip
def test_origins_are_the_same_with_defaults_filled_in(one: str, other: str) -> None:
    assert read_origin(one) == read_origin(other) is not None


@pytest.mark.parametrize(
    ("one", "other"), [("http://a.test", "https://a.test"), ("https://a.test", "https://a.test:8443"), ("https://a.test", "https://b.test")]
)  # fmt: skip
def test_origins_differ_in_scheme_host_and_port(one: str, other: str) -> None:
    assert read_origin(one) != read_origin(other)


@pytest.mark.parametrize(
    "text",
    [
        "null",
        "",
        "a.test",
        "ftp://a.test",
        "https://a.test/b",
        "https://u@a.test",
        "https://",
        "https://a.test?x",
        "https://a b",
    ],
)
def test_text_that_is_no_origin_is_none(text: str) -> None:
    assert read_origin(text) is None


def test_origin_is_written_without_its_default_port() -> None:
    assert str(origin_of("https", Host("a.test", 443))) == "https://a.test"
    assert str(origin_of("http", Host("a.test", 8080))) == "http://a.test:8080"


@pytest.mark.parametrize(
    ("text", "scheme"), [("WSS", "https"), (" https ", "https"), ("ws", "http"), ("ftp", None), ("", None)]
)
def test_scheme_is_http_or_https(text: str, scheme: str | None) -> None:
    assert normal_scheme(text) == scheme
