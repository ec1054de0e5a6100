"""Access decisions for hypothetical requests, with the objects that also serve: for `explain` and for `acl.tests`.

This module sends nothing to an upstream and opens no store. A decision that depends on the playbook of an execution is
reported as unknown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from proxy.config.compile import Compiled, RouteSpec
from proxy.config.model_acl import AclTest
from proxy.config.problems import Problem, key_of
from proxy.errors import NotFound
from proxy.http.target import PathError, normalise_path
from proxy.noetl.surface import Kind, classify
from proxy.policy.acl import Action, Allow, Decision, Deny, Subject, Verdict, lacks_role
from proxy.rewrite import Rewrite
from proxy.routing import Found, Missing, parse_pattern

_RELAYED = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
_DEPENDS = {
    Kind.EXECUTE: "execute on the playbook in its body",
    Kind.RERUN: "execute on the playbook of the execution",
    Kind.EXECUTION: "the playbook or the owner of the execution",
    Kind.RESOURCE: "view on the playbook in its body",
}


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


def subject_of(compiled: Compiled, email: str, roles: tuple[str, ...], claims: Mapping[str, Any]) -> Subject:
    """Return a user with this e-mail address and these claims; `roles` are the roles in the token."""
    held = compiled.access.subject(email, str(claims.get("sub", "")), claims, None)
    return Subject(email, held.subject, held.roles | set(roles), claims)


def on_playbook(compiled: Compiled, who: Subject, action: Action, name: str) -> Outcome:
    """Return the decision about an action on a playbook."""
    decision = compiled.access.on_playbook(who, action, name)
    return Outcome(decision, compiled.access.explain_playbook(who, action, name), None, action)


def on_request(compiled: Compiled, who: Subject, method: str, target: str, host: str = "") -> Outcome:
    """Return the decision about a request of a signed-in user.

    Args:
        compiled: the configuration.
        who: the user.
        method: the method of the request.
        target: the path of the request, with or without a query.
        host: the host of the request.

    Raises:
        Unclear: the decision depends on more than the method and the path.
    """
    try:
        path = normalise_path(target.partition("?")[0])
    except PathError as error:
        return Outcome(Deny(None, f"400: {error}"))
    found = compiled.routes.find(host, method, path)
    if isinstance(found, Missing):
        status = "404: no route" if found.because == "no-path" else f"405: the path accepts {', '.join(found.allow)}"
        return Outcome(Deny(None, status))
    return _on_route(compiled, who, method, path, found)


def _on_route(compiled: Compiled, who: Subject, method: str, path: str, found: Found[RouteSpec]) -> Outcome:
    spec = found.route
    if spec.block.upstream is None:
        return Outcome(Allow(None, f"handler {spec.block.handler} does not use access rules for paths"), (), spec)
    if spec.block.auth == "none":
        return Outcome(Allow(None, "the route has auth: none, so access rules do not apply"), (), spec)
    if lacks_role(spec.require_roles, who.roles):
        needed = ", ".join(sorted(spec.require_roles))
        return Outcome(Deny(None, f"the route requires role {needed}"), (), spec)
    action = spec.action or Action.of_method(method)
    if spec.block.upstream == "noetl":
        action = _noetl_action(method, spec, path, found.params)
    decision = compiled.access.on_path(who, action, method, path)
    return Outcome(decision, compiled.access.explain_path(who, action, method, path), spec, action)


def _noetl_action(method: str, spec: RouteSpec, path: str, params: Mapping[str, str]) -> Action:
    target = Rewrite(spec.block.rewrite, parse_pattern(spec.pattern)).apply(path, params)
    try:
        access = classify(method, target, spec.action)
    except NotFound:
        raise Unclear("the execution id is not a number, so the response is 404") from None
    if access.kind is not Kind.PATH:
        raise Unclear(f"authorized not by its path but by {_DEPENDS[access.kind]}; check that playbook instead")
    return access.action


def failing_tests(compiled: Compiled) -> tuple[Problem, ...]:
    """Return a problem for each of `acl.tests` whose decision differs from the expected one."""
    problems = []
    for index, test in enumerate(compiled.loaded.gateway.acl.tests):
        text = _failure(compiled, test)
        if text:
            path = ("acl", "tests", index)
            problems.append(Problem(compiled.loaded.document.place(path), key_of(path), text))
    return tuple(problems)


def _failure(compiled: Compiled, test: AclTest) -> str:
    who = subject_of(compiled, test.as_.email, test.as_.roles, test.as_.claims)
    if test.request is not None:
        method, _, target = test.request.partition(" ")
        if method not in _RELAYED or not target.startswith("/"):
            return 'request needs a method and a path, as "GET /noetl/executions"'
        try:
            outcome = on_request(compiled, who, method, target)
        except Unclear as error:
            return f"{test.request} is {error}"
        tested = test.request
    else:
        action, name = next((a, n) for a in Action if (n := getattr(test, a.value)) is not None)
        outcome, tested = on_playbook(compiled, who, action, name), f"{action.value} {name}"
    got = "allow" if outcome.decision.allowed else "deny"
    if got == test.expect:
        return ""
    user = test.as_.email or "a user without e-mail"
    return f"expected {test.expect} for {user}: {tested}, but {outcome.decision.because}"
