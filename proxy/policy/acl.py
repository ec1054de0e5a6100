"""The access rules: which users may execute, view, modify or delete what.

A matching deny rule decides first, then a matching allow rule, then the default. Every decision names its rule. This
module only decides: it does not read requests or sessions.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

from proxy.bounded import BoundedCache
from proxy.policy.glob import Glob

_MAX_DECISIONS = 256
_MAX_DECIDED = 32 * 1024
_MAX_PERMITS = 500
_ROLE = re.compile(r"[^\s,]+(?: +[^\s,]+)*")


class Action(StrEnum):
    """An action that rules allow or deny. `ADMIN` is what only operators and workers may do."""

    EXECUTE = "execute"
    VIEW = "view"
    MODIFY = "modify"
    DELETE = "delete"
    ADMIN = "admin"

    @classmethod
    def of_method(cls, method: str) -> Action:
        """Return the action of a forwarded request whose route has no `action`."""
        return _OF_METHOD.get(method, cls.MODIFY)


_OF_METHOD = {"GET": Action.VIEW, "HEAD": Action.VIEW, "DELETE": Action.DELETE}


@dataclass(frozen=True, slots=True)
class Subject:
    """A user: `claims` of the verified token; `roles` of the token and of the configuration.

    `email` is empty unless it counts for rules; `tenant` is the domain of the user's tenant, in lower case.
    """

    email: str
    subject: str
    roles: frozenset[str]
    claims: Mapping[str, Any]
    tenant: str = ""


def lacks_role(required: frozenset[str], held: frozenset[str]) -> bool:
    """Return whether a route requires roles of which a user has none."""
    return bool(required) and not required & held


ClaimTest = tuple[str, tuple[Any, ...]]


def claim_holds(claims: Mapping[str, Any], test: ClaimTest) -> bool:
    """Return True if the claim, or an element of it if it is a list, has one of the wanted values."""
    name, wanted = test
    value = claims.get(name)
    values = value if isinstance(value, list | tuple) else (value,)
    return any(type(have) is type(want) and have == want for have in values for want in wanted)


@dataclass(frozen=True, slots=True)
class Role:
    """A configured role. A user has it if any of the conditions holds.

    Args:
        name: the name of the role.
        everyone: every signed-in user has the role.
        emails: globs over the e-mail address.
        subjects: values of the `sub` claim.
        claims: claims with their accepted values.
        tenants: domains of the tenants whose users can have the role; empty means all.
    """

    name: str
    everyone: bool
    emails: tuple[Glob, ...]
    subjects: frozenset[str]
    claims: tuple[ClaimTest, ...]
    tenants: frozenset[str] = frozenset()

    def is_for(self, tenant: str) -> bool:
        """Return True if users of a tenant can have this role."""
        return not self.tenants or tenant in self.tenants

    def held_by(self, email: str, subject: str, claims: Mapping[str, Any]) -> bool:
        """Return True if a user of a tenant that the role is for has this role."""
        return (
            self.everyone
            or subject in self.subjects
            or (bool(email) and any(glob.matches(email) for glob in self.emails))
            or any(claim_holds(claims, test) for test in self.claims)
        )


@dataclass(frozen=True, slots=True)
class Rule:
    """One access rule. All given conditions on the user must hold.

    Args:
        source: the place of the rule, as `file:line`.
        effect: `allow` or `deny`.
        actions: the actions that the rule applies to.
        roles: roles of which the user must have one; empty means any user.
        emails: globs of which the user's e-mail address must match one; empty means any user.
        claims: claims that the token must have.
        playbooks: globs over playbook paths; either these or `paths` are given.
        paths: globs over request paths.
        methods: request methods, for `paths`; empty means all.
        tenants: domains of the tenants whose users the rule applies to; empty means all.
    """

    source: str
    effect: Literal["allow", "deny"]
    actions: frozenset[Action]
    roles: frozenset[str]
    emails: tuple[Glob, ...]
    claims: tuple[ClaimTest, ...]
    playbooks: tuple[Glob, ...]
    paths: tuple[Glob, ...]
    methods: frozenset[str]
    tenants: frozenset[str] = frozenset()

    def mismatch(self, who: Subject, action: Action) -> str:
        """Return why the rule does not apply to a user and an action; an empty text if it applies."""
        if action not in self.actions:
            return f"does not apply to {action.value}"
        if self.tenants and who.tenant not in self.tenants:
            return f"is for tenant {', '.join(sorted(self.tenants))}"
        if self.roles and not self.roles & who.roles:
            return f"is for role {', '.join(sorted(self.roles))}"
        if self.emails and not (who.email and any(glob.matches(who.email) for glob in self.emails)):
            return "is for other e-mail addresses"
        if not all(claim_holds(who.claims, test) for test in self.claims):
            return "is for other claims"
        return ""


@dataclass(frozen=True, slots=True)
class Allow:
    """The request is allowed by `rule`; None means by the default."""

    rule: Rule | None
    because: str
    allowed: Literal[True] = True


@dataclass(frozen=True, slots=True)
class Deny:
    """The request is denied by `rule`; None means that no rule allows it."""

    rule: Rule | None
    because: str
    allowed: Literal[False] = False


Decision = Allow | Deny


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of one rule, for `explain`; `because` is empty if the rule matches."""

    rule: Rule
    because: str


Mine = tuple[tuple[Rule, Action], ...]
"""The rules that apply to a user, each with an action."""


class Permits:
    """The rules that apply to some users, selected once: those to whom the same rules apply share it.

    `allows` and `allows_playbook` return the decisions of `AccessPolicy.on_path` and `on_playbook` without the reason.
    `views_all`: every playbook may be viewed.
    """

    __slots__ = ("_default", "_on_paths", "_on_playbooks", "_paths", "_playbooks", "views_all")

    def __init__(self, mine: Mine, *, default: bool) -> None:
        paths = [(rule, action) for rule, action in mine if rule.paths]
        playbooks = [(rule, action) for rule, action in mine if rule.playbooks]
        self._paths = (_by_action(paths, "deny"), _by_action(paths, "allow"))
        self._playbooks = (_by_action(playbooks, "deny"), _by_action(playbooks, "allow"))
        self._default = default
        deny, allow = (by_action[Action.VIEW] for by_action in self._playbooks)
        everything = default or any(glob.text == "**" for rule in allow for glob in rule.playbooks)
        self.views_all = everything and not deny
        self._on_paths: BoundedCache[tuple[Action, str, str], bool] = BoundedCache(_MAX_DECISIONS, _MAX_DECIDED)
        self._on_playbooks: BoundedCache[tuple[Action, str], bool] = BoundedCache(_MAX_DECISIONS, _MAX_DECIDED)

    def allows(self, action: Action, method: str, path: str) -> bool:
        """Return whether the request is allowed. The decisions used last are cached."""
        known = self._on_paths[action, method, path]
        if known is None:
            known = self._decide_path(action, method, path)
            self._on_paths.put((action, method, path), known, len(path))
        return known

    def _decide_path(self, action: Action, method: str, path: str) -> bool:
        deny, allow = self._paths
        for rule in deny[action]:
            if (not rule.methods or method in rule.methods) and any(glob.matches(path) for glob in rule.paths):
                return False
        for rule in allow[action]:
            if (not rule.methods or method in rule.methods) and any(glob.matches(path) for glob in rule.paths):
                return True
        return self._default

    def allows_playbook(self, action: Action, playbook: str) -> bool:
        """Return whether the action on the playbook is allowed. The decisions used last are cached."""
        known = self._on_playbooks[action, playbook]
        if known is None:
            known = self.decides_playbook(action, playbook)
            self._on_playbooks.put((action, playbook), known, len(playbook))
        return known

    def decides_playbook(self, action: Action, playbook: str) -> bool:
        """Return what `allows_playbook` returns, without the cache: safe in any thread."""
        playbook = playbook.lstrip("/")
        deny, allow = self._playbooks
        for rule in deny[action]:
            if any(glob.matches(playbook) for glob in rule.playbooks):
                return False
        for rule in allow[action]:
            if any(glob.matches(playbook) for glob in rule.playbooks):
                return True
        return self._default


def _by_action(mine: list[tuple[Rule, Action]], effect: str) -> dict[Action, tuple[Rule, ...]]:
    return {action: tuple(r for r, about in mine if about is action and r.effect == effect) for action in Action}


class AccessPolicy:
    """The compiled rules of one configuration."""

    __slots__ = ("_default_allow", "_path_rules", "_permits", "_playbook_rules", "roles", "rules")

    def __init__(self, roles: tuple[Role, ...], rules: tuple[Rule, ...], *, default_allow: bool = False) -> None:
        self.roles = roles
        self.rules = rules
        self._default_allow = default_allow
        self._permits: BoundedCache[tuple[tuple[int, Action], ...], Permits] = BoundedCache(_MAX_PERMITS)
        self._playbook_rules = tuple(rule for rule in rules if rule.playbooks)
        self._path_rules = tuple(rule for rule in rules if rule.paths)

    def subject(
        self, email: str, subject: str, claims: Mapping[str, Any], roles_claim: str | None, *, tenant: str = ""
    ) -> Subject:
        """Return a user with the roles in the token's claim (a list of texts, or one text) and the configured roles.

        A text that would be ambiguous in a comma-separated list of roles is ignored, and so is a role that the
        configuration binds to other tenants. `email` is empty unless it counts.
        """
        claimed = claims.get(roles_claim) if roles_claim else None
        names = claimed if isinstance(claimed, list) else [claimed]
        own = {name for name in names if isinstance(name, str) and _ROLE.fullmatch(name) and name.isprintable()}
        own -= {role.name for role in self.roles if not role.is_for(tenant)}
        held = {role.name for role in self.roles if role.is_for(tenant) and role.held_by(email, subject, claims)}
        return Subject(email, subject, frozenset(own | held), claims, tenant)

    @property
    def claims(self) -> frozenset[str]:
        """The names of the claims that roles and rules use."""
        tests = [test for role in self.roles for test in role.claims] + [test for r in self.rules for test in r.claims]
        return frozenset(name for name, _ in tests)

    def on_playbook(self, who: Subject, action: Action, playbook: str) -> Decision:
        """Decide on an action on a playbook, which its path in the catalog identifies.

        A slash at the beginning of the path does not count: `system/**` is also for `/system/purge`.
        """
        return self._decide(self._playbook_verdicts(who, action, playbook))

    def on_path(self, who: Subject, action: Action, method: str, path: str) -> Decision:
        """Decide on a forwarded request, by its normalised path."""
        return self._decide(self._path_verdicts(who, action, method, path))

    def permits(self, who: Subject) -> Permits:
        """Return the rules that apply to one user."""
        chosen = [
            (number, action)
            for number, rule in enumerate(self.rules)
            for action in Action
            if not rule.mismatch(who, action)
        ]
        key = tuple(chosen)
        permits = self._permits[key]
        if permits is None:
            permits = Permits(tuple((self.rules[n], action) for n, action in chosen), default=self._default_allow)
            self._permits.put(key, permits)
        return permits

    def explain_playbook(self, who: Subject, action: Action, playbook: str) -> tuple[Verdict, ...]:
        """Return the verdict of every rule, in the order of the files."""
        return self._playbook_verdicts(who, action, playbook)

    def explain_path(self, who: Subject, action: Action, method: str, path: str) -> tuple[Verdict, ...]:
        """Return the verdict of every rule, in the order of the files."""
        return self._path_verdicts(who, action, method, path)

    def _playbook_verdicts(self, who: Subject, action: Action, playbook: str) -> tuple[Verdict, ...]:
        playbook = playbook.lstrip("/")
        verdicts = []
        for rule in self._playbook_rules:
            because = rule.mismatch(who, action)
            if not because and not any(glob.matches(playbook) for glob in rule.playbooks):
                because = "is for other playbooks"
            verdicts.append(Verdict(rule, because))
        return tuple(verdicts)

    def _path_verdicts(self, who: Subject, action: Action, method: str, path: str) -> tuple[Verdict, ...]:
        verdicts = []
        for rule in self._path_rules:
            because = rule.mismatch(who, action)
            if not because and rule.methods and method not in rule.methods:
                because = f"does not apply to {method}"
            if not because and not any(glob.matches(path) for glob in rule.paths):
                because = "is for other paths"
            verdicts.append(Verdict(rule, because))
        return tuple(verdicts)

    def _decide(self, verdicts: tuple[Verdict, ...]) -> Decision:
        matching = [verdict.rule for verdict in verdicts if not verdict.because]
        for rule in matching:
            if rule.effect == "deny":
                return Deny(rule, f"denied by {rule.source}")
        if matching:
            return Allow(matching[0], f"allowed by {matching[0].source}")
        if self._default_allow:
            return Allow(None, "allowed by acl.default")
        return Deny(None, "no rule allows it")
