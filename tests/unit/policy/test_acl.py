"""Access rules, case by case."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import pytest

from proxy.policy.acl import AccessPolicy, Action, Role, Rule, Subject
from proxy.policy.glob import path_glob, text_glob


def who(email: str = "a@x.test", *roles: str, claims: Mapping[str, Any] | None = None) -> Subject:
    return Subject(email, "subject", frozenset(roles), claims or {})


def rule(
    effect: Literal["allow", "deny"] = "allow",
    *,
    source: str = "gateway.yaml:1",
    actions: tuple[Action, ...] = tuple(Action),
    roles: tuple[str, ...] = (),
    emails: tuple[str, ...] = (),
    claims: tuple[tuple[str, tuple[Any, ...]], ...] = (),
    playbooks: tuple[str, ...] = (),
    paths: tuple[str, ...] = (),
    methods: tuple[str, ...] = (),
) -> Rule:
    return Rule(
        source,
        effect,
        frozenset(actions),
        frozenset(roles),
        tuple(map(text_glob, emails)),
        claims,
        tuple(map(path_glob, playbooks)),
        tuple(map(path_glob, paths)),
        frozenset(methods),
    )


def policy(*rules: Rule, default_allow: bool = False) -> AccessPolicy:
    return AccessPolicy((), rules, default_allow=default_allow)


@pytest.mark.parametrize("default_allow", [True, False])
def test_where_no_rule_matches_the_default_decides(default_allow: bool) -> None:
    decision = policy(rule(playbooks=("b",)), default_allow=default_allow).on_playbook(who(), Action.VIEW, "a")
    assert (decision.allowed, decision.rule) == (default_allow, None)


@pytest.mark.parametrize("playbook", ["system/purge", "/system/purge", "//system/purge"])
def test_slash_at_the_beginning_of_a_playbook_does_not_count(playbook: str) -> None:
    rules = policy(rule(playbooks=("**",)), rule("deny", playbooks=("system/**",)))
    assert not rules.on_playbook(who(), Action.EXECUTE, playbook).allowed
    assert not rules.permits(who()).allows_playbook(Action.EXECUTE, playbook)
    assert rules.permits(who()).allows_playbook(Action.EXECUTE, f"a/{playbook}")


@pytest.mark.parametrize("effects", [("allow", "deny"), ("deny", "allow"), ("deny", "allow", "allow")])
def test_a_deny_decides_wherever_it_stands(effects: tuple[Literal["allow", "deny"], ...]) -> None:
    rules = [rule(effect, source=f"gateway.yaml:{effect}", playbooks=("**",)) for effect in effects]
    decision = policy(*rules, default_allow=True).on_playbook(who(), Action.EXECUTE, "a")
    assert (decision.allowed, decision.because) == (False, "denied by gateway.yaml:deny")


def test_the_decision_names_the_rule_that_allowed() -> None:
    rules = (rule(source="f:1", playbooks=("b",)), rule(source="f:2", playbooks=("a",)))
    decision = policy(*rules).on_playbook(who(), Action.VIEW, "a")
    assert (decision.rule, decision.because) == (rules[1], "allowed by f:2")


@pytest.mark.parametrize(
    ("only", "subject", "expected"),
    [
        (rule(roles=("dev", "ops"), playbooks=("a",)), who("a@x.test", "ops"), True),
        (rule(roles=("dev", "ops"), playbooks=("a",)), who("a@x.test", "other"), False),
        (rule(roles=("dev",), playbooks=("a",)), who(), False),
        (rule(emails=("*@x.test",), playbooks=("a",)), who(), True),
        (rule(emails=("*@y.test", "a@*"), playbooks=("a",)), who(), True),
        (rule(emails=("*@y.test",), playbooks=("a",)), who(), False),
        (rule(emails=("*",), playbooks=("a",)), who(""), False),
        (rule(roles=("dev",), emails=("*@x.test",), playbooks=("a",)), who(), False),
        (rule(roles=("dev",), emails=("*@x.test",), playbooks=("a",)), who("a@x.test", "dev"), True),
        (rule(claims=(("team", ("blue",)),), playbooks=("a",)), who(claims={"team": "blue"}), True),
        (rule(claims=(("team", ("blue",)),), playbooks=("a",)), who(claims={"team": ["red", "blue"]}), True),
        (rule(claims=(("team", ("blue", "red")),), playbooks=("a",)), who(claims={"team": "red"}), True),
        (rule(claims=(("team", ("blue",)),), playbooks=("a",)), who(claims={"team": {"blue": 1}}), False),
        (rule(claims=(("team", ("blue",)),), playbooks=("a",)), who(), False),
        (rule(claims=(("on", (True,)),), playbooks=("a",)), who(claims={"on": 1}), False),
        (rule(claims=(("level", (1,)),), playbooks=("a",)), who(claims={"level": True}), False),
        (rule(claims=(("level", (1,)),), playbooks=("a",)), who(claims={"level": "1"}), False),
        (rule(claims=(("a", (1,)), ("b", (2,))), playbooks=("a",)), who(claims={"a": 1}), False),
        (rule(claims=(("a", (1,)), ("b", (2,))), playbooks=("a",)), who(claims={"a": 1, "b": 2}), True),
        (rule(playbooks=("a",)), who(""), True),
    ],
)
def test_all_that_a_rule_says_of_its_subject_must_hold(only: Rule, subject: Subject, expected: bool) -> None:
    assert policy(only).on_playbook(subject, Action.VIEW, "a").allowed is expected


@pytest.mark.parametrize("action", list(Action))
def test_a_rule_is_about_its_actions_only(action: Action) -> None:
    decision = policy(rule(actions=(Action.VIEW,), playbooks=("a",))).on_playbook(who(), action, "a")
    assert decision.allowed is (action is Action.VIEW)


@pytest.mark.parametrize(
    ("only", "method", "path", "expected"),
    [
        (rule(paths=("/noetl/**",)), "GET", "/noetl/a", True),
        (rule(paths=("/noetl/**",)), "GET", "/other", False),
        (rule(paths=("/noetl/**",), methods=("GET",)), "POST", "/noetl/a", False),
        (rule(paths=("/noetl/**",), methods=("GET", "POST")), "POST", "/noetl/a", True),
        (rule(playbooks=("**",)), "GET", "/noetl/a", False),
    ],
)
def test_a_path_is_judged_by_the_rules_about_paths(only: Rule, method: str, path: str, expected: bool) -> None:
    assert policy(only).on_path(who(), Action.VIEW, method, path).allowed is expected


def test_a_rule_about_paths_says_nothing_of_playbooks() -> None:
    assert not policy(rule(paths=("**",))).on_playbook(who(), Action.VIEW, "a").allowed


@pytest.mark.parametrize(
    ("method", "action"),
    [
        ("GET", "view"),
        ("HEAD", "view"),
        ("DELETE", "delete"),
        ("POST", "modify"),
        ("PUT", "modify"),
        ("PATCH", "modify"),
    ],
)
def test_a_method_stands_for_an_action(method: str, action: str) -> None:
    assert Action.of_method(method) == action


ROLES = (
    Role("everyone", True, (), frozenset(), ()),
    Role("staff", False, (text_glob("*@x.test"),), frozenset(), ()),
    Role("robot", False, (), frozenset({"auth0|7"}), ()),
    Role("blue", False, (), frozenset(), (("team", ("blue",)), ("colour", ("blue",)))),
    Role("nobody", False, (), frozenset(), ()),
)


@pytest.mark.parametrize(
    ("email", "subject", "claims", "roles"),
    [
        ("a@y.test", "s", {}, {"everyone"}),
        ("a@x.test", "s", {}, {"everyone", "staff"}),
        ("", "auth0|7", {}, {"everyone", "robot"}),
        ("", "s", {"team": "blue"}, {"everyone", "blue"}),
        ("", "s", {"colour": ["red", "blue"]}, {"everyone", "blue"}),
        ("", "s", {"roles": ["own", "", 5, None]}, {"everyone", "own"}),
        ("", "s", {"roles": "own"}, {"everyone", "own"}),
        ("", "s", {"roles": {"own": 1}}, {"everyone"}),
        ("", "s", {"other": ["own"]}, {"everyone"}),
    ],
)
def test_a_users_roles_are_the_claimed_and_the_configured_ones(
    email: str, subject: str, claims: Mapping[str, Any], roles: set[str]
) -> None:
    assert AccessPolicy(ROLES, ()).subject(email, subject, claims, "roles").roles == roles


def test_without_a_roles_claim_the_token_brings_no_roles() -> None:
    assert AccessPolicy(ROLES, ()).subject("", "s", {"roles": ["own"]}, None).roles == {"everyone"}


def test_explaining_a_playbook_gives_every_rule_with_why_it_does_not_match() -> None:
    rules = (
        rule(playbooks=("a",)),
        rule(actions=(Action.DELETE,), playbooks=("a",)),
        rule(roles=("ops", "dev"), playbooks=("a",)),
        rule(emails=("b@*",), playbooks=("a",)),
        rule(claims=(("x", (1,)),), playbooks=("a",)),
        rule(playbooks=("b",)),
    )
    verdicts = policy(*rules).explain_playbook(who(), Action.VIEW, "a")
    assert [verdict.because for verdict in verdicts] == [
        "", "does not apply to view", "is for role dev, ops", "is for other e-mail addresses", "is for other claims",
        "is for other playbooks",
    ]  # fmt: skip


def test_explaining_a_path_gives_every_rule_with_why_it_does_not_match() -> None:
    rules = (rule(paths=("/a",)), rule(paths=("/a",), methods=("POST",)), rule(paths=("/b",)))
    verdicts = policy(*rules).explain_path(who(), Action.VIEW, "GET", "/a")
    assert [verdict.because for verdict in verdicts] == ["", "does not apply to GET", "is for other paths"]


@pytest.mark.parametrize(
    ("claimed", "roles"),
    [
        (["dev", "ops"], {"dev", "ops"}),
        ("dev", {"dev"}),
        (["data engineer", "é", "a-b:c/d"], {"data engineer", "é", "a-b:c/d"}),
        (
            [
                "x,admin",
                "admin ",
                " admin",
                "admin\n",
                "admin\x00",
                "ad\u00a0min",
                "admin\ud800",
                "",
                None,
                5,
                ["admin"],
            ],
            set(),
        ),
        ("x, admin", set()),
        ({"admin": 1}, set()),
    ],
)
def test_a_role_of_the_token_that_could_be_read_as_another_is_none(claimed: Any, roles: set[str]) -> None:
    assert policy().subject("a@x.test", "s", {"roles": claimed}, "roles").roles == roles


def test_users_to_whom_the_same_rules_apply_share_their_decisions() -> None:
    rules = policy(rule(playbooks=("a/**",), roles=("viewer",)), rule("deny", playbooks=("a/b",), emails=("x@h",)))
    one, same, denied = who("1@h", "viewer"), who("2@h", "viewer"), who("x@h", "viewer")
    assert rules.permits(one) is rules.permits(same)
    assert rules.permits(denied) is not rules.permits(one)
    assert rules.permits(one).allows_playbook(Action.VIEW, "a/b")
    assert not rules.permits(denied).allows_playbook(Action.VIEW, "a/b")


@pytest.mark.parametrize(
    ("rules", "default_allow", "expected"),
    [
        ([rule(playbooks=("a", "**"))], False, True),
        ([rule(playbooks=("**",), actions=(Action.EXECUTE,))], False, False),
        ([rule(playbooks=("**",)), rule("deny", playbooks=("a",), actions=(Action.EXECUTE,))], False, True),
        ([rule(playbooks=("**",)), rule("deny", playbooks=("a",))], False, False),
        ([rule(playbooks=("*/**",))], False, False),
        ([rule(paths=("**",))], False, False),
        ([], True, True),
        ([rule("deny", playbooks=("a",))], True, False),
    ],
)
def test_user_who_may_view_every_playbook_is_known(rules: list[Rule], default_allow: bool, expected: bool) -> None:
    permits = policy(*rules, default_allow=default_allow).permits(who())
    assert permits.views_all is expected


def test_admin_is_contained_in_all_actions_only() -> None:
    every = policy(rule(paths=("/x",))).permits(who())
    most = policy(rule(paths=("/x",), actions=(Action.VIEW, Action.MODIFY, Action.DELETE, Action.EXECUTE))).permits(
        who()
    )
    assert every.allows(Action.ADMIN, "GET", "/x")
    assert not most.allows(Action.ADMIN, "GET", "/x")
