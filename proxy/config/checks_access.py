"""Checks of the block `acl`: rules, roles and tests."""

from __future__ import annotations

from proxy.config.checker import Checker
from proxy.config.model import Gateway
from proxy.config.model_acl import RuleBlock
from proxy.config.problems import Path
from proxy.policy.glob import GlobError, path_glob, text_glob


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
    check.globs((*path, "playbooks"), rule.playbooks, _glob_of_playbooks)
    check.globs((*path, "paths"), rule.paths, _glob_of_paths)
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


def check_tests(gateway: Gateway, check: Checker) -> None:
    for index, test in check.document.with_index(("acl", "tests"), gateway.acl.tests):
        given = [k for k in ("execute", "view", "modify", "delete", "request") if getattr(test, k) is not None]
        if len(given) != 1:
            check.whole_entry(("acl", "tests", index), "needs exactly one of execute, view, modify, delete and request")
        elif test.body is not None and test.request is None:
            check.add(("acl", "tests", index, "body"), "has an effect only with request", key=True)


def _glob_of_playbooks(text: str) -> None:
    """Raise GlobError for a glob that can match no playbook."""
    path_glob(text)
    _without_alternatives(text)
    if text.startswith("/"):
        raise GlobError(f'can never match: the path of a playbook has no / at its start; write "{text.lstrip("/")}"')
    if "//" in text or text.endswith("/"):
        raise GlobError("can never match: the path of a playbook has no empty segment")


def _glob_of_paths(text: str) -> None:
    """Raise GlobError for a glob that can match no request path."""
    path_glob(text)
    _without_alternatives(text)
    if not text.startswith(("/", "*", "?")):
        raise GlobError(f'can never match: a request path starts with /; write "/{text}"')
    if "//" in text:
        raise GlobError("can never match: a normalised path has no empty segment")


def _without_alternatives(text: str) -> None:
    if "{" in text or "[" in text:
        raise GlobError("can never match: only *, ** and ? are special in a glob; write one entry for each alternative")
