"""Checks that need more than one field: references, patterns, networks, combinations, unavailable settings."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel

from proxy.config.builtin import HANDLERS
from proxy.config.later import Later
from proxy.config.model import Gateway, RouteBlock
from proxy.config.model_acl import RuleBlock
from proxy.config.problems import Path, Problem, suggest
from proxy.config.yamlfile import Document
from proxy.http.header_edits import Direction, edit_problems
from proxy.http.target import PathError, normalise_path
from proxy.observe.tracing import is_installed
from proxy.policy.cors import OriginError, check_origin
from proxy.policy.glob import GlobError, path_glob, text_glob
from proxy.routing import PatternError, parse_pattern

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")


def cross_checks(gateway: Gateway, document: Document) -> list[Problem]:
    """Return every problem that can't be seen in one field alone."""
    check = _Checker(document)
    check.availability(gateway, ())
    for part in (_server, _upstreams, _tenants, _cors, _rules, _roles, _tests, _routes, _graphql, _metrics, _tracing):
        part(gateway, check)
    return check.problems


class _Checker:
    def __init__(self, document: Document) -> None:
        self.document = document
        self.problems: list[Problem] = []

    def add(self, path: Path, text: str, *, key: bool = False) -> None:
        self.problems.append(self.document.problem(path, text, key=key))

    def whole_entry(self, path: Path, text: str) -> None:
        """Add a problem of a whole entry, unless a part of the entry is invalid already."""
        if self.is_valid(path):
            self.add(path, text)

    def is_valid(self, *paths: Path) -> bool:
        """Return False if a value at one of the paths, above or below it is invalid: the default stands in for it."""
        removed = self.document.removed
        return not any(gone[: len(path)] == path[: len(gone)] for path in paths for gone in removed)

    def value(self, path: Path, function: Callable[[Any], Any], value: Any) -> None:
        try:
            function(value)
        except (GlobError, OriginError, PatternError, PathError) as error:
            self.add(path, str(error))

    def globs(self, path: Path, globs: Iterable[str], function: Callable[[str], Any]) -> None:
        for index, glob in enumerate(globs):
            self.value((*path, index), function, glob)

    def networks(self, path: Path, networks: Iterable[str]) -> None:
        for index, text in enumerate(networks):
            try:
                ipaddress.ip_network(text)
            except ValueError:
                self.add((*path, index), f'"{text}" is not a network: write it as 10.0.0.0/8 or ::1/128')

    def reference(self, path: Path, name: str, names: Iterable[str], what: str) -> None:
        names = list(names)
        if name not in names:
            self.add(path, f'no {what} is called "{name}"' + suggest(name, names))

    def reference_to_block(self, path: Path, name: str, block: str, what: str) -> None:
        """Check a reference to an entry of a block. An entry with a mistake has its name nevertheless."""
        if (block,) not in self.document.removed:
            self.reference(path, name, _names(self.document, block), what)

    def availability(self, block: BaseModel, path: Path) -> None:
        for name, info in type(block).model_fields.items():
            value, here = getattr(block, name), (*path, info.alias or name)
            if name not in block.model_fields_set:
                continue
            for mark in info.metadata:
                if isinstance(mark, Later) and not mark.accepts(value):
                    text = f"is not available yet: {mark.what} will come with a later version; remove it"
                    self.add(here, text, key=True)
            for below, inner in self._blocks(value, here):
                self.availability(inner, below)

    def _blocks(self, value: Any, path: Path) -> Iterator[tuple[Path, BaseModel]]:
        if isinstance(value, BaseModel):
            yield path, value
        elif isinstance(value, dict):
            yield from (((*path, key), item) for key, item in value.items() if isinstance(item, BaseModel))
        elif isinstance(value, tuple) and value and isinstance(value[0], BaseModel):
            yield from (((*path, index), item) for index, item in self.document.with_index(path, value))


def _tracing(gateway: Gateway, check: _Checker) -> None:
    if gateway.tracing.enabled and not is_installed():
        check.add(("tracing", "enabled"), "needs OpenTelemetry: install noetl-edge[otel], or set false")
    if not _is_base_url(gateway.tracing.endpoint):
        check.add(("tracing", "endpoint"), "must be scheme and host without a path, such as http://localhost:4318")


def _graphql(gateway: Gateway, check: _Checker) -> None:
    settings = gateway.graphql
    if settings.apq and settings.trusted_documents is not None:
        check.add(
            ("graphql", "apq"), "has no effect with trusted_documents, which are found by hash already; remove it"
        )
    if settings.trusted_documents == "":
        check.add(("graphql", "trusted_documents"), "must not be empty: name a folder, or remove the key")
    if "apq_size" in settings.model_fields_set and not settings.apq and check.is_valid(("graphql", "apq")):
        check.add(("graphql", "apq_size"), "has an effect only with apq: true", key=True)


def _metrics(gateway: Gateway, check: _Checker) -> None:
    path: Path = ("metrics", "allow_from")
    check.networks(path, gateway.metrics.allow_from)
    routes = check.document.with_index(("routes",), gateway.routes or ())
    builtin = any(r.handler == "metrics" and not check.document.is_in_file(("routes", index)) for index, r in routes)
    written = "allow_from" in gateway.metrics.model_fields_set and gateway.routes is not None
    if written and not builtin and check.is_valid(("routes",)):
        check.add(path, "applies to the built-in /metrics route only; set allow_from on your own route", key=True)


def _names(document: Document, *path: str) -> list[str]:
    """Return the keys of a mapping in the file, including those with an invalid value."""
    data = document.data
    for part in path:
        data = data.get(part) if isinstance(data, dict) else None
    return [str(name) for name in data] if isinstance(data, dict) else []


def _server(gateway: Gateway, check: _Checker) -> None:
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


def _upstreams(gateway: Gateway, check: _Checker) -> None:
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


def _tenants(gateway: Gateway, check: _Checker) -> None:
    auth, seen = gateway.auth, set()
    for index, tenant in check.document.with_index(("auth", "tenants"), auth.tenants):
        path: Path = ("auth", "tenants", index)
        if tenant.domain in seen:
            check.add((*path, "domain"), f'the tenant "{tenant.domain}" is a duplicate; remove one')
        seen.add(tenant.domain)
        for number, name in enumerate(tenant.algorithms):
            if name not in ALGORITHMS:
                text = f'"{name}" is not an asymmetric signature algorithm' + suggest(name, ALGORITHMS)
                check.add((*path, "algorithms", number), text)
        for number, audience in enumerate(tenant.audience):
            if not audience:
                check.add((*path, "audience", number), "must not be empty")
        for key, url in (("issuer", tenant.issuer), ("jwks_url", tenant.jwks_url)):
            if url is not None:
                _tenant_url(check, (*path, key), url)
    _sandboxes(gateway, check)
    domains = {tenant.domain for tenant in auth.tenants}
    if auth.default_tenant is not None and domains and check.is_valid(("auth", "tenants")):
        check.reference(("auth", "default_tenant"), auth.default_tenant, domains, "tenant")


def _sandboxes(gateway: Gateway, check: _Checker) -> None:
    """Report a tenant with a plain http issuer, which is a sandbox, if the gateway listens on a public address."""
    sandboxes = [tenant.domain for tenant in gateway.auth.tenants if (tenant.issuer or "https:").startswith("http:")]
    if sandboxes and not is_loopback(gateway.server.host) and not gateway.auth.allow_sandbox_tenants:
        text = f"is a public address, but tenant {sandboxes[0]} is a sandbox (plain http issuer): listen on 127.0.0.1"
        check.add(("server", "host"), f"{text}, or set auth.allow_sandbox_tenants: true")


def _tenant_url(check: _Checker, path: Path, url: str) -> None:
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        parts, host = None, None
    if parts is None or parts.scheme not in ("http", "https") or not host:
        check.add(path, "must be a url, such as https://tenant.example.com/")
    elif parts.scheme == "http" and not is_loopback(host):
        check.add(path, "plain http is allowed for sandboxes on localhost only; use https://")


def is_loopback(host: str) -> bool:
    """Return True if a host name or address is the loopback of this machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _cors(gateway: Gateway, check: _Checker) -> None:
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


def _rules(gateway: Gateway, check: _Checker) -> None:
    for index, rule in check.document.with_index(("acl", "rules"), gateway.acl.rules):
        _rule(rule, ("acl", "rules", index), check)


def _rule(rule: RuleBlock, path: Path, check: _Checker) -> None:
    if bool(rule.allow) == bool(rule.deny):
        check.whole_entry(path, "needs exactly one of allow: [actions] and deny: [actions]")
    if bool(rule.playbooks) == bool(rule.paths):
        check.whole_entry(path, "needs exactly one of playbooks: [globs] and paths: [globs]")
    if rule.methods and not rule.paths and check.is_valid((*path, "paths")):
        check.add((*path, "methods"), "has an effect only with paths", key=True)
    check.globs((*path, "playbooks"), rule.playbooks, path_glob)
    check.globs((*path, "paths"), rule.paths, path_glob)
    check.globs((*path, "emails"), rule.emails, text_glob)


def _roles(gateway: Gateway, check: _Checker) -> None:
    for name, role in gateway.acl.roles.items():
        check.globs(("acl", "roles", name, "emails"), role.emails, text_glob)


def _tests(gateway: Gateway, check: _Checker) -> None:
    for index, test in check.document.with_index(("acl", "tests"), gateway.acl.tests):
        given = [k for k in ("execute", "view", "modify", "delete", "request") if getattr(test, k) is not None]
        if len(given) != 1:
            check.whole_entry(("acl", "tests", index), "needs exactly one of execute, view, modify, delete and request")
        elif test.body is not None and test.request is None:
            check.add(("acl", "tests", index, "body"), "has an effect only with request", key=True)


def _routes(gateway: Gateway, check: _Checker) -> None:
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


def _header_edits(route: RouteBlock, path: Path, check: _Checker) -> None:
    for direction in Direction:
        edit = route.headers.request if direction is Direction.REQUEST else route.headers.response
        for problem in edit_problems(direction, edit.set, edit.remove):
            place: Path = (*path, "headers", direction.value, problem.part.value, problem.entry)
            check.add(place, problem.text, key=not problem.is_value and isinstance(problem.entry, str))


def _handler(route: RouteBlock, path: Path, check: _Checker) -> None:
    name = route.handler or ""
    facts = HANDLERS.get(name)
    if facts is None:
        check.reference((*path, "handler"), name, HANDLERS, "handler")
        return
    if facts.later:
        text = f"{name} is not available yet: {facts.later} will come with a later version; remove the route"
        check.add((*path, "handler"), text)
    noetl = "noetl" in _names(check.document, "upstreams") or ("upstreams",) in check.document.removed
    if name == "graphql" and not noetl:
        check.add((*path, "handler"), "graphql needs an upstream called noetl: add it, or remove the route")
    for index, method in enumerate(route.methods):
        if method not in facts.methods and not (method == "HEAD" and "GET" in facts.methods):
            check.add((*path, "methods", index), f"{name} supports {', '.join(facts.methods)} only")
    for key in ("rewrite", "action", "timeout", "auth", "require", "websocket", "headers"):
        if key in route.model_fields_set:
            check.add((*path, key), "has an effect only on routes with an upstream", key=True)


def _rewrite(route: RouteBlock, path: Path, check: _Checker) -> None:
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
