"""Checks that need more than one field: references, patterns, networks, combinations, unavailable settings."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from proxy.config.builtin import HANDLERS
from proxy.config.checker import Checker, names_in
from proxy.config.checks_identity import check_roles, check_rules, check_tenants
from proxy.config.model import Gateway, RouteBlock
from proxy.config.problems import Path, Problem
from proxy.config.yamlfile import Document
from proxy.http.header_edits import Direction, edit_problems
from proxy.http.target import PathError, normalise_path
from proxy.observe.tracing import is_installed
from proxy.policy.cors import check_origin
from proxy.routing import PatternError, parse_pattern


def cross_checks(gateway: Gateway, document: Document) -> list[Problem]:
    """Return every problem that can't be seen in one field alone."""
    check = Checker(document)
    check.availability(gateway, ())
    for part in (
        _server,
        _upstreams,
        check_tenants,
        _cors,
        check_rules,
        check_roles,
        _tests,
        _routes,
        _graphql,
        _metrics,
        _tracing,
    ):
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


def _metrics(gateway: Gateway, check: Checker) -> None:
    path: Path = ("metrics", "allow_from")
    check.networks(path, gateway.metrics.allow_from)
    routes = check.document.with_index(("routes",), gateway.routes or ())
    builtin = any(r.handler == "metrics" and not check.document.is_in_file(("routes", index)) for index, r in routes)
    written = "allow_from" in gateway.metrics.model_fields_set and gateway.routes is not None
    if written and not builtin and check.is_valid(("routes",)):
        check.add(path, "applies to the built-in /metrics route only; set allow_from on your own route", key=True)


def _server(gateway: Gateway, check: Checker) -> None:
    check.networks(("server", "trusted_proxies"), gateway.server.trusted_proxies)
    several = gateway.server.workers != 1 and check.is_valid(("sessions", "store"))
    if several and gateway.sessions.store == "memory":
        text = "memory works with one process only: several workers would not share sessions; use file"
        check.add(("sessions", "store"), text)
    url = gateway.server.public_url
    if url is not None and not _is_base_url(url):
        check.add(
            ("server", "public_url"), "must be scheme and host without a path, such as https://gateway.example.com"
        )


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
                check.add((*path, index), "must be scheme and host without a path, such as http://localhost:8082")
            elif url.rstrip("/") in [other.rstrip("/") for other in upstream.urls[:index]]:
                check.add((*path, index), "is a duplicate; remove it")
            elif "@" in url:
                check.add((*path, index), "must not contain a user or password; set an authorization header instead")


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


def _tests(gateway: Gateway, check: Checker) -> None:
    for index, test in check.document.with_index(("acl", "tests"), gateway.acl.tests):
        given = [k for k in ("execute", "view", "modify", "delete", "request") if getattr(test, k) is not None]
        if len(given) != 1:
            check.whole_entry(("acl", "tests", index), "needs exactly one of execute, view, modify, delete and request")
        elif test.body is not None and test.request is None:
            check.add(("acl", "tests", index, "body"), "has an effect only with request", key=True)


def _routes(gateway: Gateway, check: Checker) -> None:
    for index, route in check.document.with_index(("routes",), gateway.routes or ()):
        path: Path = ("routes", index)
        check.value((*path, "path"), parse_pattern, route.path)
        check.networks((*path, "allow_from"), route.allow_from)
        if (route.handler is None) == (route.upstream is None):
            check.whole_entry(path, "needs exactly one of handler: NAME and upstream: NAME")
        elif route.handler is not None:
            _handler(route, path, check)
        elif route.upstream is not None:
            check.reference_to_block((*path, "upstream"), route.upstream, "upstreams", "upstream")
        if route.rewrite is not None:
            _rewrite(route, path, check)
        _header_edits(route, path, check)
        if route.rate_limit is not None:
            check.reference_to_block((*path, "rate_limit"), route.rate_limit, "rate_limits", "rate limit")


def _header_edits(route: RouteBlock, path: Path, check: Checker) -> None:
    for direction in Direction:
        edit = route.headers.request if direction is Direction.REQUEST else route.headers.response
        for problem in edit_problems(direction, edit.set, edit.remove):
            place: Path = (*path, "headers", direction.value, problem.part.value, problem.entry)
            check.add(place, problem.text, key=not problem.is_value and isinstance(problem.entry, str))


def _handler(route: RouteBlock, path: Path, check: Checker) -> None:
    name = route.handler or ""
    facts = HANDLERS.get(name)
    if facts is None:
        check.reference((*path, "handler"), name, HANDLERS, "handler")
        return
    if facts.later:
        text = f"{name} is not available yet: {facts.later} will come with a later version; remove the route"
        check.add((*path, "handler"), text)
    noetl = "noetl" in names_in(check.document, "upstreams") or ("upstreams",) in check.document.removed
    if name == "graphql" and not noetl:
        check.add((*path, "handler"), "graphql needs an upstream called noetl: add it, or remove the route")
    for index, method in enumerate(route.methods):
        if method not in facts.methods and not (method == "HEAD" and "GET" in facts.methods):
            check.add((*path, "methods", index), f"{name} supports {', '.join(facts.methods)} only")
    for key in ("rewrite", "action", "timeout", "auth", "require", "websocket", "headers"):
        if key in route.model_fields_set:
            check.add((*path, key), "has an effect only on routes with an upstream", key=True)


def _rewrite(route: RouteBlock, path: Path, check: Checker) -> None:
    try:
        pattern = parse_pattern(route.path)
    except PatternError:
        return
    values = dict.fromkeys(pattern.names, "x")
    try:
        target = (route.rewrite or "").format_map(values)
        normalise_path(target)
    except (KeyError, ValueError, IndexError, AttributeError, PathError) as error:
        names = ", ".join(f"{{{name}}}" for name in pattern.names) or "none"
        why = str(error) if isinstance(error, PathError) else f"known parameters: {names}"
        check.add((*path, "rewrite"), f"does not give a valid path ({why})")
