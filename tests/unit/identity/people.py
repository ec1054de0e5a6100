"""Sessions and principals without a gateway, for the tests of decisions about users."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from proxy.identity.principal import Principal
from proxy.policy.acl import AccessPolicy, Action, Role, Rule
from proxy.policy.glob import path_glob, text_glob
from proxy.sessions.store import Identity, Session

NOW = 1_800_000_000.0
EVERY = frozenset(Action)


def session(
    email: str = "anna@x.org", *, user_id: int = 7, claims: Mapping[str, Any] | None = None, name: str = "Anna"
) -> Session:
    """Return the session of a user: a day long, begun and last used at `NOW`."""
    told = {"email_verified": True, **(claims or {})}
    identity = Identity("https://tenant.test/", f"auth0|{email}", email, name, "tenant.test", told)
    return Session("s1", user_id, identity, NOW, NOW + 86400, NOW, "192.0.2.1", "browser")


def rule(
    effect: Literal["allow", "deny"],
    *actions: Action,
    playbooks: str = "",
    paths: str = "",
    roles: tuple[str, ...] = (),
) -> Rule:
    """Return an access rule with one glob."""
    return Rule(
        source=f"gateway.yaml:{effect}",
        effect=effect,
        actions=frozenset(actions) or EVERY,
        roles=frozenset(roles),
        emails=(),
        claims=(),
        playbooks=(path_glob(playbooks),) if playbooks else (),
        paths=(path_glob(paths),) if paths else (),
        methods=frozenset(),
    )


def policy(*rules: Rule) -> AccessPolicy:
    """Return a policy with the role `dev` for everyone at x.org."""
    return AccessPolicy((Role("dev", False, (text_glob("*@x.org"),), frozenset(), ()),), rules)


def principal(rules: AccessPolicy, stored: Session | None = None) -> Principal:
    """Return the principal of a session under a policy."""
    stored = stored or session()
    who = rules.subject(stored.identity.email, stored.identity.subject, stored.identity.claims, "roles")
    return Principal(b"key", stored, who, rules.permits(who))
