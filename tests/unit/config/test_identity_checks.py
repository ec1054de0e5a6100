"""The checks of tenants, and of the roles and rules that are for their users."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.config.test_checks import told

ONE = "auth: {tenants: [{domain: a.test, audience: [x]}]}\n"
TWO = "auth: {tenants: [{domain: a.test, audience: [x]}, {domain: b.test, audience: [x]}]}\n"
UNBOUND = "names users by e-mail or subject, and there are several tenants: add tenants, such as tenants: [a.test]"


@pytest.mark.parametrize(
    ("acl", "problem"),
    [
        ("roles:\n    dev: {emails: [a@x.org]}", f"4:5: acl.roles.dev: {UNBOUND}"),
        ("roles:\n    dev: {subjects: [s]}", f"4:5: acl.roles.dev: {UNBOUND}"),
        ("rules:\n    - {allow: [view], playbooks: [a], emails: [a@x.org]}", f"4:7: acl.rules[0]: {UNBOUND}"),
        ("roles:\n    dev: {emails: [a@x.org], tenants: [a.test]}", ""),
        ("roles:\n    dev: {claims: {team: blue}}", ""),
        ("roles:\n    dev: {everyone: true}", ""),
    ],
)
def test_role_or_rule_by_email_or_subject_is_bound_if_there_are_several_tenants(
    tmp_path: Path, acl: str, problem: str
) -> None:
    assert told(tmp_path, f"{TWO}acl:\n  {acl}\n") == ([problem] if problem else [])
    assert told(tmp_path, f"{ONE}acl:\n  {acl}\n") == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            ONE + "acl: {rules: [{allow: [view], playbooks: [a], tenants: [b.test]}]}\n",
            '2:57: acl.rules[0].tenants[0]: no tenant is called "b.test" (did you mean "a.test"?)',
        ),
        (
            ONE + "acl: {tests: [{as: {tenant: c.test}, execute: a, expect: deny}]}\n",
            '2:29: acl.tests[0].as.tenant: no tenant is called "c.test" (did you mean "a.test"?)',
        ),
        (
            "auth: {tenants: [{domain: a.test, audience: [x]}, {domain: A.test, audience: [x]}]}\n",
            '1:60: auth.tenants[1].domain: the tenant "A.test" is a duplicate; remove one',
        ),
        (
            "auth: {tenants: [{domain: a, issuer: 'http://localhost:1', audience: [x], tls: {ca: x}}]}\n",
            "1:75: auth.tenants[0].tls: has an effect only with https",
        ),
        (
            "auth: {tenants: [{domain: a, audience: [x], email_verified: maybe}]}\n",
            '1:61: auth.tenants[0].email_verified: "maybe" is not one of required, assumed',
        ),
    ],
)
def test_mistake_of_a_tenant_is_reported_with_its_place(tmp_path: Path, text: str, problem: str) -> None:
    assert told(tmp_path, text) == [problem]
