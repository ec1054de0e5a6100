"""Checks that need more than one field: references, patterns, networks, combinations, unavailable settings."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

from proxy.config.checker import Checker
from proxy.config.checks_access import check_roles, check_rules, check_tests
from proxy.config.checks_identity import check_provider, check_tenants
from proxy.config.checks_routes import check_routes
from proxy.config.checks_store import check_store
from proxy.config.model import Gateway
from proxy.config.problems import Path, Problem
from proxy.config.yamlfile import Document
from proxy.observe.tracing import is_installed
from proxy.policy.cors import check_origin

_HOST = re.compile(r"\.?[A-Za-z0-9.-]+")


def cross_checks(gateway: Gateway, document: Document) -> list[Problem]:
    """Return every problem that can't be seen in one field alone."""
    check = Checker(document)
    check.availability(gateway, ())
    for part in _PARTS:
        part(gateway, check)
    return check.problems


def _tracing(gateway: Gateway, check: Checker) -> None:
    if gateway.tracing.enabled and not is_installed():
        check.add(("tracing", "enabled"), "needs OpenTelemetry: install noetl-edge[otel], or set false")
    if not _is_base_url(gateway.tracing.endpoint):
        check.add(("tracing", "endpoint"), "must be scheme and host without a path, such as http://localhost:4318")


def _graphql(gateway: Gateway, check: Checker) -> None:
    settings = gateway.graphql
    if settings.apq and settings.trusted_documents is not None:
        check.add(
            ("graphql", "apq"), "has no effect with trusted_documents, which are found by hash already; remove it"
        )
    if settings.trusted_documents == "":
        check.add(("graphql", "trusted_documents"), "must not be empty: name a folder, or remove the key")
    if "apq_size" in settings.model_fields_set and not settings.apq and check.is_valid(("graphql", "apq")):
        check.add(("graphql", "apq_size"), "has an effect only with apq: true", key=True)


def _live(gateway: Gateway, check: Checker) -> None:
    check.networks(("live", "internal_allow_from"), gateway.live.internal_allow_from)
    if gateway.live.internal_token == "":
        check.add(
            ("live", "internal_token"), "is empty, so that any callback would be accepted; set a token, or remove it"
        )


def _metrics(gateway: Gateway, check: Checker) -> None:
    path: Path = ("metrics", "allow_from")
    check.networks(path, gateway.metrics.allow_from)
    routes = list(check.document.with_index(("routes",), gateway.routes or ()))
    builtin = any(r.handler == "metrics" and not check.document.is_in_file(("routes", index)) for index, r in routes)
    replaced = any(r.path == "/metrics" and check.document.is_in_file(("routes", index)) for index, r in routes)
    written = "allow_from" in gateway.metrics.model_fields_set
    if written and (replaced or not builtin) and check.is_valid(("routes",)):
        check.add(path, "applies to the built-in /metrics route only; set allow_from on your own route", key=True)


def _server(gateway: Gateway, check: Checker) -> None:
    check.networks(("server", "trusted_proxies"), gateway.server.trusted_proxies)
    _host(gateway.server.host, check)
    several = gateway.server.workers != 1 and check.is_valid(("sessions", "store"))
    if several and gateway.sessions.store == "memory":
        text = "memory works with one process only: several workers would not share sessions; use file"
        check.add(("sessions", "store"), text)
    url = gateway.server.public_url
    if url is not None and not _is_base_url(url):
        check.add(
            ("server", "public_url"), "must be scheme and host without a path, such as https://gateway.example.com"
        )


def _url_problem(url: str) -> str:
    """Return what is wrong with the url of an upstream."""
    if "://" not in url and _is_base_url(f"http://{url}"):
        return f"has no scheme: write http://{url} or https://{url}"
    try:
        urlsplit(url).port  # noqa: B018 - raises for a bad port
    except ValueError:
        return "has a port that does not exist, or is not a url"
    return "must be scheme and host without a path, such as http://localhost:8082"


def _host(host: str, check: Checker) -> None:
    path: Path = ("server", "host")
    name, _, port = host.rpartition(":")
    if "://" in host or "/" in host:
        check.add(path, "must be an address or a host name, without scheme and path")
    elif host.startswith("[") or host.endswith("]"):
        check.add(path, f"write an IPv6 address without brackets: {host.partition(']')[0].lstrip('[')}")
    elif name and ":" not in name and port.isdecimal():
        check.add(path, f"must be without the port; set server.port: {port}")


def _is_base_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - raises for a bad port
    except ValueError:
        return False
    plain = parts.path in ("", "/") and not parts.query and not parts.fragment
    return parts.scheme in ("http", "https") and bool(parts.hostname) and plain


def _upstreams(gateway: Gateway, check: Checker) -> None:
    for name, upstream in gateway.upstreams.items():
        path: Path = ("upstreams", name, "urls")
        hashed = upstream.hash_on is None or upstream.balance == "consistent_hash"
        if not hashed and check.is_valid(("upstreams", name, "balance")):
            check.add(("upstreams", name, "hash_on"), "has an effect only with balance: consistent_hash", key=True)
        https = upstream.tls is None or any(url.startswith("https:") for url in upstream.urls)
        if not https and check.is_valid(path):
            check.add(("upstreams", name, "tls"), "has an effect only with an https url", key=True)
        for index, url in enumerate(upstream.urls):
            if not _is_base_url(url):
                check.add((*path, index), _url_problem(url))
            elif url.rstrip("/") in [other.rstrip("/") for other in upstream.urls[:index]]:
                check.add((*path, index), "is a duplicate; remove it")
            elif "@" in url:
                check.add((*path, index), "must not contain a user or password; set an authorization header instead")


def _sessions(gateway: Gateway, check: Checker) -> None:
    sessions, path = gateway.sessions, ("sessions", "default_hours")
    given = "default_hours" in sessions.model_fields_set
    if given and sessions.default_hours > sessions.max_hours and check.is_valid(path, ("sessions", "max_hours")):
        check.add(path, f"is {sessions.default_hours:g}, more than max_hours, which is {sessions.max_hours:g}")


def _cookie(gateway: Gateway, check: Checker) -> None:
    cookie, path = gateway.sessions.cookie, ("sessions", "cookie", "domain")
    if cookie.domain is not None and not _HOST.fullmatch(cookie.domain):
        check.add(path, "must be a host, such as example.com, without scheme and path")
    elif cookie.domain is not None and cookie.name.startswith("__Host-"):
        check.add(path, "browsers refuse a cookie named __Host-… with a domain: remove one of them")


def _cors(gateway: Gateway, check: Checker) -> None:
    short = gateway.corsAllowedOrigins
    if short is not None and "allowed_origins" in gateway.cors.model_fields_set:
        check.add(
            ("corsAllowedOrigins",),
            "is the short form of cors.allowed_origins, which is given too; remove one of them",
            key=True,
        )
    for index, origin in enumerate(short or ()):
        check.value(("corsAllowedOrigins", index), check_origin, origin)
    blocks: list[tuple[Path, Any]] = [(("cors",), gateway.cors)]
    for index, route in check.document.with_index(("routes",), gateway.routes or ()):
        if route.cors is not None:
            blocks.append((("routes", index, "cors"), route.cors))
    for path, cors in blocks:
        for index, origin in enumerate(cors.allowed_origins):
            check.value((*path, "allowed_origins", index), check_origin, origin)
        credentials = cors.allow_credentials and check.is_valid((*path, "allow_credentials"))
        if "*" in cors.allowed_origins and credentials:
            check.add((*path, "allowed_origins"), '"*" needs allow_credentials: false; otherwise list the origins')
    credentials = gateway.cors.allow_credentials and check.is_valid(("cors", "allow_credentials"))
    if "*" in (short or ()) and credentials:
        check.add(("corsAllowedOrigins",), '"*" needs cors.allow_credentials: false; otherwise list the origins')


_PARTS = (
    _server, _upstreams, check_tenants, check_provider, _sessions, check_store, _cookie, _cors, check_rules,
    check_roles, check_tests, check_routes, _graphql, _live, _metrics, _tracing,
)  # fmt: skip
