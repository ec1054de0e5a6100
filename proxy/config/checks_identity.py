"""The checks of tenants, and of the roles and rules that are for their users."""

from __future__ import annotations

from urllib.parse import urlsplit

from proxy.config.checker import Checker
from proxy.config.model import Gateway
from proxy.config.model_acl import RuleBlock
from proxy.config.model_identity import Tenant
from proxy.config.problems import Path, suggest
from proxy.http.origin import is_loopback
from proxy.policy.glob import path_glob, text_glob

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
    if auth.default_tenant is not None and domains and check.is_valid(("auth", "tenants")):
        check.reference(("auth", "default_tenant"), auth.default_tenant, domains, "tenant")


def _tenant(tenant: Tenant, path: Path, check: Checker) -> None:
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
    fetched = tenant.jwks_url or tenant.issuer or "https:"
    if tenant.tls is not None and fetched.startswith("http:"):
        check.add((*path, "tls"), "has an effect only with https", key=True)


def _sandboxes(gateway: Gateway, check: Checker) -> None:
    """Report a tenant with a plain http issuer, which is a sandbox, if the gateway listens on a public address."""
    sandboxes = [tenant.domain for tenant in gateway.auth.tenants if (tenant.issuer or "https:").startswith("http:")]
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


def check_rules(gateway: Gateway, check: Checker) -> None:
    """Check every access rule."""
    for index, rule in check.document.with_index(("acl", "rules"), gateway.acl.rules):
        path: Path = ("acl", "rules", index)
        _rule(rule, path, check)
        _binding(gateway, check, path, rule.tenants, unbound=bool(rule.emails))


def _rule(rule: RuleBlock, path: Path, check: Checker) -> None:
    if bool(rule.allow) == bool(rule.deny):
        check.whole_entry(path, "needs exactly one of allow: [actions] and deny: [actions]")
    if bool(rule.playbooks) == bool(rule.paths):
        check.whole_entry(path, "needs exactly one of playbooks: [globs] and paths: [globs]")
    if rule.methods and not rule.paths and check.is_valid((*path, "paths")):
        check.add((*path, "methods"), "has an effect only with paths", key=True)
    check.globs((*path, "playbooks"), rule.playbooks, path_glob)
    check.globs((*path, "paths"), rule.paths, path_glob)
    check.globs((*path, "emails"), rule.emails, text_glob)


def check_roles(gateway: Gateway, check: Checker) -> None:
    """Check every role, and the tenants that `acl.tests` name."""
    for name, role in gateway.acl.roles.items():
        path: Path = ("acl", "roles", name)
        check.globs((*path, "emails"), role.emails, text_glob)
        _binding(gateway, check, path, role.tenants, unbound=bool(role.emails or role.subjects))
    for index, test in check.document.with_index(("acl", "tests"), gateway.acl.tests):
        if test.as_.tenant is not None:
            _reference(gateway, check, ("acl", "tests", index, "as", "tenant"), test.as_.tenant)


def _binding(gateway: Gateway, check: Checker, path: Path, tenants: tuple[str, ...], *, unbound: bool) -> None:
    """Check the tenants of a role or rule. `unbound`: without any, users of several tenants could match it.

    Every tenant can say of its users that they have some e-mail address or subject, also one of another tenant's user.
    """
    for number, domain in enumerate(tenants):
        _reference(gateway, check, (*path, "tenants", number), domain)
    domains = [tenant.domain for tenant in gateway.auth.tenants]
    if unbound and not tenants and len(domains) > 1 and check.is_valid((*path, "tenants"), ("auth", "tenants")):
        text = "names users by e-mail or subject, and there are several tenants: add tenants, such as"
        check.add(path, f"{text} tenants: [{domains[0]}]", key=True)


def _reference(gateway: Gateway, check: Checker, path: Path, domain: str) -> None:
    if check.is_valid(("auth", "tenants")):
        domains = [tenant.domain for tenant in gateway.auth.tenants]
        check.reference(path, domain, [*domains, *map(str.lower, domains)], "tenant")
