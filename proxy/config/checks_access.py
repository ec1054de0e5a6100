"""Checks of the block `acl`: rules, roles and tests."""

from __future__ import annotations

from proxy.config.checker import Checker
from proxy.config.model import Gateway
from proxy.config.model_acl import RuleBlock
from proxy.config.problems import Path
from proxy.policy.glob import GlobError, path_glob, text_glob


def check_rules(gateway: Gateway, check: Checker) -> None:
    for index, rule in check.document.with_index(("acl", "rules"), gateway.acl.rules):
        _rule(rule, ("acl", "rules", index), check)


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
    for name, role in gateway.acl.roles.items():
        check.globs(("acl", "roles", name, "emails"), role.emails, text_glob)


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
