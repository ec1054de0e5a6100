"""Checks of the tenants."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from proxy.config.checker import Checker
from proxy.config.model import Gateway
from proxy.config.model_identity import Tenant, issuer_of
from proxy.config.model_upstreams import noetl_upstreams
from proxy.config.problems import Path, suggest
from proxy.http.origin import is_loopback

_DOMAIN = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?")
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")


def check_tenants(gateway: Gateway, check: Checker) -> None:
    """Check the tenants, the default one, and that no sandbox guards a public address."""
    auth, seen = gateway.auth, set()
    for index, tenant in check.document.with_index(("auth", "tenants"), auth.tenants):
        path: Path = ("auth", "tenants", index)
        if tenant.domain.lower() in seen:
            check.add((*path, "domain"), f'the tenant "{tenant.domain}" is a duplicate; remove one')
        seen.add(tenant.domain.lower())
        _tenant(tenant, path, check)
    _sandboxes(gateway, check)
    domains = {tenant.domain for tenant in auth.tenants}
    wanted = auth.application.domain
    if wanted is not None and domains and check.is_valid(("auth", "tenants")):
        check.reference(("auth", "application", "domain"), wanted, domains, "tenant")
    uri = auth.application.redirect_uri
    if uri and not uri.startswith(("http://", "https://")):
        check.add(("auth", "application", "redirect_uri"), "must be a url, such as https://app.example.com/login")
    if auth.default_tenant is not None and domains and check.is_valid(("auth", "tenants")):
        check.reference(("auth", "default_tenant"), auth.default_tenant, domains, "tenant")


def check_provider(gateway: Gateway, check: Checker) -> None:
    """Check what `provider: playbook` needs, and that its paths are paths."""
    auth = gateway.auth
    if auth.provider == "playbook" and not noetl_upstreams(gateway.upstreams):
        check.add(("auth", "provider"), "playbook needs an upstream of kind noetl, which makes the sessions")
    for name in ("login", "validate_session", "check_access"):
        path = getattr(auth.playbooks, name)
        if not path.strip("/ ") or path != path.strip():
            check.add(("auth", "playbooks", name), "must be the path of a playbook, such as team/auth/login")


def _tenant(tenant: Tenant, path: Path, check: Checker) -> None:
    bare = re.sub(r"^[A-Za-z][A-Za-z0-9+.-]*://", "", tenant.domain).partition("/")[0]
    if bare != tenant.domain:
        check.add((*path, "domain"), f"must be a host without scheme and path: {bare}")
    elif not _DOMAIN.fullmatch(tenant.domain):
        check.add((*path, "domain"), "must be a host, such as acme.eu.auth0.com, with a port if it has one")
    for number, name in enumerate(tenant.algorithms):
        if name not in ALGORITHMS:
            text = f'"{name}" is not an asymmetric signature algorithm' + suggest(name, ALGORITHMS)
            check.add((*path, "algorithms", number), text)
    for number, audience in enumerate(tenant.audience):
        if not audience:
            check.add((*path, "audience", number), "must not be empty")
        elif audience != audience.strip():
            check.add((*path, "audience", number), "has a blank at its beginning or end: remove it")
    if tenant.issuer is not None and "/.well-known/" in tenant.issuer:
        check.add(
            (*path, "issuer"), f"is the address of a document: write {tenant.issuer.partition('.well-known/')[0]}"
        )
    for key, url in (("issuer", tenant.issuer), ("jwks_url", tenant.jwks_url)):
        if url is not None:
            _tenant_url(check, (*path, key), url)
    fetched = tenant.jwks_url or issuer_of(tenant)
    if tenant.tls is not None and fetched.startswith("http:"):
        check.add((*path, "tls"), "has an effect only with https", key=True)


def _sandboxes(gateway: Gateway, check: Checker) -> None:
    """Report a tenant with a plain http issuer, which is a sandbox, if the gateway listens on a public address."""
    sandboxes = [tenant.domain for tenant in gateway.auth.tenants if issuer_of(tenant).startswith("http:")]
    if sandboxes and not is_loopback(gateway.server.host) and not gateway.auth.allow_sandbox_tenants:
        text = f"is a public address, but tenant {sandboxes[0]} is a sandbox (plain http issuer): listen on 127.0.0.1"
        check.add(("server", "host"), f"{text}, or set auth.allow_sandbox_tenants: true")


def _tenant_url(check: Checker, path: Path, url: str) -> None:
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        parts, host = None, None
    if parts is None or parts.scheme not in ("http", "https") or not host:
        check.add(path, "must be a url, such as https://tenant.example.com/")
    elif parts.scheme == "http" and not is_loopback(host):
        check.add(path, "plain http is allowed for sandboxes on localhost only; use https://")
