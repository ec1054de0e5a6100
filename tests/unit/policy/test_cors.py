"""Which origins may read answers, and what a preflight is told."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.policy.cors import CorsPolicy, OriginError, check_origin, compile_cors


def policy(*origins: str, **changes: Any) -> CorsPolicy:
    settings: dict[str, Any] = {
        "allow_credentials": True,
        "methods": ("GET", "POST"),
        "headers": ("authorization", "content-type"),
        "exposed": ("x-request-id",),
        "max_age": 600.0,
        "allow_private_network": False,
    }
    return compile_cors(origins=origins, **{**settings, **changes})


@pytest.mark.parametrize(
    ("configured", "yes", "no"),
    [
        (
            "http://localhost:3000",
            ["http://localhost:3000"],
            [
                "http://localhost", "https://localhost:3000", "http://localhost:3000/a", "http://localhost:30000",
                "null", "",
            ],
        ),
        (
            "https://*.example.com",
            ["https://a.example.com", "https://a-b.example.com", "https://1.example.com", "https://A.example.com", "HTTPS://a.example.com:443"],
            [
                "https://example.com", "https://a.b.example.com", "https://.example.com", "http://a.example.com",
                "https://a.example.com:8443", "https://a.example.com.evil.test", "https://evil.test/.example.com",
                "https://evil.test#.example.com", "https://a@b.example.com", "https://-.example.com",
                "https://aXexample.com", "https://a.example.com\n", "https://*.example.com",
            ],
        ),
        ("https://*.example.com:8443", ["https://a.example.com:8443"], ["https://a.example.com", "https://a.example.com:84430"]),
        ("*", ["https://anything.test", "http://localhost"], ["null"]),
    ],
)  # fmt: skip
def test_an_origin_is_allowed_only_as_configured(configured: str, yes: list[str], no: list[str]) -> None:
    compiled = policy(configured, allow_credentials=False)
    assert [origin for origin in yes if not compiled.allows(origin)] == []
    assert [origin for origin in no if compiled.allows(origin)] == []


def test_without_origins_none_is_allowed() -> None:
    assert not policy().allows("http://localhost:3000")


def test_an_answer_to_an_allowed_origin_names_it_and_lets_scripts_read_the_exposed_headers() -> None:
    assert policy("https://a.test").response_headers("https://a.test") == (
        ("access-control-allow-origin", "https://a.test"),
        ("access-control-allow-credentials", "true"),
        ("access-control-expose-headers", "x-request-id"),
    )


@pytest.mark.parametrize("origin", [None, "https://b.test", "null"])
def test_response_to_a_foreign_or_absent_origin_only_varies(origin: str | None) -> None:
    assert policy("https://a.test").response_headers(origin) == ()
    assert policy("https://a.test").varies


def test_an_answer_for_every_origin_does_not_vary() -> None:
    compiled = policy("*", allow_credentials=False, exposed=())
    assert compiled.response_headers("https://a.test") == (("access-control-allow-origin", "*"),)
    assert not compiled.varies


def test_no_answer_gives_credentials_to_every_origin() -> None:
    headers = dict(policy("*").response_headers("https://a.test"))
    assert headers["access-control-allow-origin"] != "*" or "access-control-allow-credentials" not in headers


def test_without_credentials_none_are_promised() -> None:
    compiled = policy("https://a.test", allow_credentials=False)
    preflight = compiled.preflight_headers("https://a.test", private_network=False)
    assert preflight is not None
    names = {name for name, _ in (*compiled.response_headers("https://a.test"), *preflight)}
    assert "access-control-allow-credentials" not in names


def test_preflight_of_allowed_origin_gets_all_headers() -> None:
    assert policy("https://*.a.test").preflight_headers("https://b.a.test", private_network=False) == (
        ("access-control-allow-origin", "https://b.a.test"),
        ("access-control-allow-credentials", "true"),
        ("access-control-allow-methods", "GET, POST"),
        ("access-control-allow-headers", "authorization, content-type"),
        ("access-control-max-age", "600"),
        ("vary", "origin, access-control-request-method, access-control-request-headers"),
    )


@pytest.mark.parametrize("origin", ["https://b.test", "null", "https://a.test.evil", ""])
def test_preflight_of_other_origin_gets_no_headers(origin: str) -> None:
    assert policy("https://a.test").preflight_headers(origin, private_network=False) is None


@pytest.mark.parametrize(("allowed", "asked"), [(True, True), (True, False), (False, True), (False, False)])
def test_private_network_access_is_allowed_only_if_configured_and_requested(allowed: bool, asked: bool) -> None:
    compiled = policy("https://a.test", allow_private_network=allowed)
    headers = compiled.preflight_headers("https://a.test", private_network=asked)
    assert headers is not None
    assert (("access-control-allow-private-network", "true") in headers) is (allowed and asked)


@pytest.mark.parametrize(
    "origin",
    [
        "*",
        "http://localhost",
        "http://localhost:3000",
        "https://a-b.example.com",
        "https://*.example.com",
        "http://127.0.0.1:1",
        "http://[::1]:3000",
    ],
)
def test_a_well_formed_origin_is_accepted(origin: str) -> None:
    check_origin(origin)


@pytest.mark.parametrize(
    ("origin", "why"),
    [
        ("localhost:3000", "scheme://host"),
        ("https://", "scheme://host"),
        ("https://a.test/", "without a path"),
        ("https://a.test/x", "without a path"),
        ("https://A.test", "lower case"),
        ("ftp://a.test", "scheme://host"),
        ("null", "scheme://host"),
        ("https://a.*.test", "as the first label only"),
        ("https://*a.test", "as the first label only"),
        ("https://*", "as the first label only"),
        ("https://user@a.test", "scheme://host"),
        ("https://a.test:", "scheme://host"),
        ("https://a.test:port", "scheme://host"),
        ("https://a.test\n", "scheme://host"),
        ("https://*.test", "at least two labels"),
        ("https://a.test:443", "omit the default port :443"),
        ("http://a.test:80", "omit the default port :80"),
        ("", "scheme://host"),
    ],
)
def test_an_origin_that_no_browser_sends_is_refused_with_the_reason(origin: str, why: str) -> None:
    with pytest.raises(OriginError, match=why):
        check_origin(origin)
