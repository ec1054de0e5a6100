"""Which roles a user has: by tenant, by whether the e-mail address is verified, and by what roles are bound to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from proxy.config.compile import compile_config
from proxy.config.load import load
from proxy.identity.principal import Principal, TenantTrust, may_end, subject_of_identity
from proxy.identity.tenants import trust_in
from proxy.policy.acl import Action
from proxy.sessions.store import Identity
from tests.unit.identity.people import policy, session

CONFIG = """
auth:
  tenants:
    - {domain: a.test, audience: [x], roles_claim: roles}
    - {domain: B.test, audience: [x], roles_claim: roles, email_verified: assumed}
acl:
  roles:
    of-a: {emails: ["*@x.org"], tenants: [a.test]}
    of-b: {emails: ["*@x.org"], tenants: [b.test]}
    of-both: {emails: ["*@x.org"], tenants: [a.test, B.test]}
    subject-of-a: {subjects: [s1], tenants: [a.test]}
    by-claim: {claims: {team: blue}}
    anyone: {everyone: true}
    anyone-of-a: {everyone: true, tenants: [a.test]}
  rules:
    - {allow: [view], playbooks: ["a/**"], emails: ["*@x.org"], tenants: [a.test]}
    - {allow: [view], playbooks: ["b/**"], tenants: [b.test]}
"""
A, B, GONE = "a.test", "B.test", "gone.test"
ALWAYS = {"anyone", "by-claim"}
OF_A, OF_B = {"of-a", "of-both"}, {"of-b", "of-both"}
ALL_OF_A = ALWAYS | {"subject-of-a", "anyone-of-a"}


@pytest.mark.parametrize(
    ("tenant", "verified", "claimed", "roles", "views"),
    [
        (A, True, [], ALL_OF_A | OF_A, "a/x"),
        (A, False, [], ALL_OF_A, ""),
        (A, None, [], ALL_OF_A, ""),
        (A, "true", [], ALL_OF_A, ""),
        (B, True, [], ALWAYS | OF_B, "b/x"),
        (B, False, [], ALWAYS | OF_B, "b/x"),
        (B, None, [], ALWAYS | OF_B, "b/x"),
        (B, None, ["of-a", "other"], ALWAYS | OF_B | {"other"}, "b/x"),
        (A, None, ["of-a", "of-b"], ALL_OF_A | {"of-a"}, ""),
        (GONE, True, ["of-a", "other"], {"anyone"}, ""),
    ],
)
def test_roles_by_tenant_verified_email_and_binding(
    tmp_path: Path, tenant: str, verified: object, claimed: list[str], roles: set[str], views: str
) -> None:
    (tmp_path / "gateway.yaml").write_text(CONFIG)
    compiled = compile_config(load(tmp_path / "gateway.yaml", {}))
    claims = {"team": "blue", "roles": claimed} | ({} if verified is None else {"email_verified": verified})
    who = Identity(f"https://{tenant.lower()}/", "s1", "anna@x.org", "Anna", tenant, claims)
    trust = trust_in(compiled.loaded.gateway.auth.tenants).get(tenant.lower())
    subject = subject_of_identity(compiled.access, who, trust)
    permits = compiled.access.permits(subject)
    assert subject.roles == roles
    assert [path for path in ("a/x", "b/x") if permits.allows_playbook(Action.VIEW, path)] == ([views] if views else [])


def test_email_that_does_not_count_is_shown_to_the_user_and_not_sent_upstream() -> None:
    rules, stored = policy(), session(claims={"email_verified": False})
    subject = subject_of_identity(rules, stored.identity, TenantTrust(None, email_assumed=False))
    who = Principal(b"key", stored, subject, rules.permits(subject))
    assert (who.document["email"], who.user.email) == ("anna@x.org", "")


@pytest.mark.parametrize(
    ("role", "of_user", "of_tenant", "every_tenant", "allowed"),
    [
        ("", True, True, True, True),
        ("", True, False, False, True),
        ("", False, True, True, False),
        ("developer", False, True, True, False),
        ("admin", False, True, False, True),
        ("admin", False, False, False, False),
        ("admin", False, False, True, True),
    ],
)
def test_who_may_end_a_session(role: str, of_user: bool, of_tenant: bool, every_tenant: bool, allowed: bool) -> None:
    rules, mine = policy(), session()
    subject = rules.subject("", "", {"roles": [role]}, "roles", tenant="tenant.test")
    who = Principal(b"key", mine, subject, rules.permits(subject))
    theirs = mine if of_user else replace(mine, user_id=99)
    if not of_tenant:
        theirs = replace(theirs, identity=replace(theirs.identity, tenant="other.test"))
    assert may_end(who, theirs, every_tenant=every_tenant) is allowed
