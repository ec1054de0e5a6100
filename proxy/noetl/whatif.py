"""Access decisions for hypothetical requests, with the objects that also serve: for `explain` and for `acl.tests`.

This module sends nothing to an upstream and opens no store. A decision that depends on the playbook of an execution or
of a catalog id is reported as unknown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from proxy.config.compile import Compiled, RouteSpec
from proxy.config.model_acl import AclTest
from proxy.config.problems import Problem
from proxy.errors import GatewayError
from proxy.http.target import PathError, normalise_path
from proxy.noetl.bridge.plan import PlannedRequest, planned
from proxy.noetl.bridge.table import BridgedPath, row_of
from proxy.noetl.dialect import Dialect
from proxy.noetl.needs import About, Need, Needs
from proxy.noetl.surface import by_path, classify, needs_of
from proxy.policy.acl import Action, Allow, Decision, Deny, Subject, Verdict, lacks_role
from proxy.rewrite import Rewrite
from proxy.routing import Found, Missing, parse_pattern

_RELAYED = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
_ON_PLAYBOOKS = (Action.EXECUTE, Action.VIEW, Action.MODIFY, Action.DELETE)
_DEPENDS = {
    About.CATALOG_ID: "the playbook with catalog id {}",
    About.EXECUTION: "the playbook or the owner of execution {}",
    About.RUN: "the playbook of execution {}",
}


_ROLES = "\0roles"
"""The claim that stands for the roles in the token; no claim in a file has this name."""


class Unclear(Exception):
    """The method and the path are not sufficient for a decision; the text states what it depends on."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A decision, with the verdict of every rule.

    Args:
        decision: allow or deny, with the rule.
        verdicts: the verdict of each rule.
        route: the route of the request; None for a decision about a playbook.
        action: the action that was authorized.
    """

    decision: Decision
    verdicts: tuple[Verdict, ...] = ()
    route: RouteSpec | None = None
    action: Action | None = None


def subject_of(
    compiled: Compiled, email: str, roles: tuple[str, ...], claims: Mapping[str, Any], tenant: str | None = None
) -> Subject:
    """Return a user with this e-mail address and these claims; `roles` are the roles in the token.

    The address counts, unless the claims say that it is not verified. Without a tenant it is the default one.
    """
    auth = compiled.loaded.gateway.auth
    only = auth.tenants[0].domain if len(auth.tenants) == 1 else ""
    domain = (tenant or auth.default_tenant or only).lower()
    assumed = any(one.domain.lower() == domain and one.email_verified == "assumed" for one in auth.tenants)
    counts = assumed or claims.get("email_verified", True) is True
    in_token = {**claims, _ROLES: list(roles)}
    who = compiled.access.subject(email if counts else "", str(claims.get("sub", "")), in_token, _ROLES, tenant=domain)
    return replace(who, claims=claims)


def on_playbook(compiled: Compiled, who: Subject, action: Action, name: str) -> Outcome:
    """Return the decision about an action on a playbook."""
    decision = compiled.access.on_playbook(who, action, name)
    return Outcome(decision, compiled.access.explain_playbook(who, action, name), None, action)


def on_request(compiled: Compiled, who: Subject, method: str, target: str, body: Any = None, host: str = "") -> Outcome:
    """Return the decision about a request of a signed-in user.

    Args:
        compiled: the configuration.
        who: the user.
        method: the method of the request.
        target: the path of the request, with or without a query.
        body: the JSON body of the request; None if it is not known.
        host: the host of the request.

    Raises:
        Unclear: the decision depends on facts that only the upstream has, or on the body, which is not known.
    """
    try:
        found, path, query = _route_of(compiled, method, target, host)
    except PathError as error:
        return Outcome(Deny(None, f"400: {error}"))
    if isinstance(found, Missing):
        status = "404: no route" if found.because == "no-path" else f"405: the path accepts {', '.join(found.allow)}"
        return Outcome(Deny(None, status))
    spec = found.route
    if spec.block.upstream is None:
        return Outcome(Allow(None, f"handler {spec.block.handler} does not use access rules for paths"), (), spec)
    if spec.block.auth == "none":
        return Outcome(Allow(None, "the route has auth: none, so access rules do not apply"), (), spec)
    if lacks_role(spec.require_roles, who.roles):
        needed = ", ".join(sorted(spec.require_roles))
        return Outcome(Deny(None, f"the route requires role {needed}"), (), spec)
    try:
        needs = _needs(compiled, method, path, query, body, found)
    except GatewayError as error:
        return Outcome(Deny(None, f"{error.status}: {error.text}"), (), spec)
    outcome = Outcome(Allow(None, "the list in the response has only what the user may view"), (), spec)
    for need in needs:
        outcome = _on_need(compiled, who, method, path, need, spec)
        if not outcome.decision.allowed:
            return outcome
    return outcome


def bridge_plan(
    compiled: Compiled, who: Subject, method: str, target: str, body: Any = None, host: str = ""
) -> tuple[str, tuple[PlannedRequest, ...]] | None:
    """Return the name of the bridge's row for a request, and what goes upstream; None if no row names it.

    Arguments as of `on_request`.
    """
    try:
        found, path, query = _route_of(compiled, method, target, host)
        bridged = None if isinstance(found, Missing) else _bridged(compiled, method, path, found)
    except (PathError, GatewayError):
        return None
    if bridged is None:
        return None
    restricted = not compiled.access.permits(who).views_all
    return bridged[1].row.name, planned(bridged[1], method, bridged[0], query, body, restricted=restricted)


def _route_of(compiled: Compiled, method: str, target: str, host: str) -> tuple[Found[RouteSpec] | Missing, str, str]:
    """Return the route of a request, its path, and its query with the question mark. Raises PathError."""
    raw, question, query = target.partition("?")
    path = normalise_path(raw)
    return compiled.routes.find(host, method, path), path, question + query


def _upstream_path(path: str, found: Found[RouteSpec]) -> str:
    return Rewrite(found.route.block.rewrite, parse_pattern(found.route.pattern)).apply(path, found.params)


def _bridged(compiled: Compiled, method: str, path: str, found: Found[RouteSpec]) -> tuple[str, BridgedPath] | None:
    """Return the upstream path of a request, and the row of the bridge that names it; None if none does."""
    upstream = compiled.loaded.gateway.upstreams.get(found.route.block.upstream or "")
    if upstream is None or not found.route.noetl or not upstream.bridge:
        return None
    target = _upstream_path(path, found)
    row = row_of(method, target)
    return (target, row) if row is not None else None


def _needs(compiled: Compiled, method: str, path: str, query: str, body: Any, found: Found[RouteSpec]) -> Needs:
    """Return what a request needs, whichever server gets it. Raises Unclear, and the error in the response."""
    spec = found.route
    if not spec.noetl:
        return by_path(spec.action or Action.of_method(method)).needs
    bridged = _bridged(compiled, method, path, found)
    targets = [_upstream_path(path, found)] if bridged is None else [bridged[1].path(bridged[0], d) for d in Dialect]
    needs: dict[Need, None] = {}
    for target in dict.fromkeys(targets):
        judged = classify(method, target, spec.action)
        if judged.body is not None and body is None:
            raise Unclear("authorized by its body, which is not given; check the playbook that it names instead")
        needs |= dict.fromkeys(needs_of(judged, query, body))
    return tuple(needs)


def _on_need(compiled: Compiled, who: Subject, method: str, path: str, need: Need, spec: RouteSpec) -> Outcome:
    about, action, name = need
    access = compiled.access
    if about is About.PATH:
        verdicts = access.explain_path(who, action, method, path)
        return Outcome(access.on_path(who, action, method, path), verdicts, spec, action)
    if about is About.PLAYBOOK:
        verdicts = access.explain_playbook(who, action, name)
        return Outcome(access.on_playbook(who, action, name), verdicts, spec, action)
    what = _DEPENDS[about].format(name)
    raise Unclear(f"authorized not by its path but by {action.value} on {what}; check that playbook instead")


def failing_tests(compiled: Compiled) -> tuple[Problem, ...]:
    """Return a problem for each of `acl.tests` whose decision differs from the expected one."""
    problems = []
    for index, test in enumerate(compiled.loaded.gateway.acl.tests):
        text = _failure(compiled, test)
        if text:
            problems.append(compiled.loaded.document.problem(("acl", "tests", index), text))
    return tuple(problems)


def _failure(compiled: Compiled, test: AclTest) -> str:
    who = subject_of(compiled, test.as_.email, test.as_.roles, test.as_.claims, test.as_.tenant)
    if test.request is not None:
        method, _, target = test.request.partition(" ")
        if method not in _RELAYED or not target.startswith("/"):
            return 'request needs a method and a path, as "GET /noetl/executions"'
        try:
            outcome = on_request(compiled, who, method, target, test.body)
        except Unclear as error:
            return f"{test.request} is {error}"
        tested = test.request
    else:
        action, name = next((a, n) for a in _ON_PLAYBOOKS if (n := getattr(test, a.value)) is not None)
        outcome, tested = on_playbook(compiled, who, action, name), f"{action.value} {name}"
    got = "allow" if outcome.decision.allowed else "deny"
    if got == test.expect:
        return ""
    user = test.as_.email or "a user without e-mail"
    return f"expected {test.expect} for {user}: {tested}, but {outcome.decision.because}"
