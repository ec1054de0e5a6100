"""The warnings of `check` about access rules for paths of the NoETL API."""

from __future__ import annotations

from collections.abc import Iterator

from proxy.config.compile import Compiled, RouteSpec
from proxy.config.problems import Path, Problem
from proxy.errors import BadRequest
from proxy.noetl.surface import is_internal_area
from proxy.policy.acl import Action, Rule
from proxy.policy.glob import Glob
from proxy.rewrite import Rewrite
from proxy.routing import Missing, parse_pattern

_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
_TEXT = 'has no effect: these paths are internal, so only the action admin, or "*", applies to them'

_OPENS = "opens all internal endpoints of the NoETL API to users who may {} these paths; give single paths an action"


def lint_noetl(compiled: Compiled) -> tuple[Problem, ...]:
    """Return a warning for each rule for internal paths without `admin`, and for each route that opens all of them."""
    return (*_internal(compiled), *_open_routes(compiled))


def _open_routes(compiled: Compiled) -> Iterator[Problem]:
    """Yield a warning for each route with an action of its own that leads to the whole API."""
    for index, entry in enumerate(compiled.routes.entries):
        spec, rest = entry.route, entry.pattern.rest
        wide = (spec.block.rewrite or spec.pattern).lower().rstrip("/") == f"/api/{{{rest}}}".lower()
        if spec.action not in (None, Action.ADMIN) and spec.noetl and rest is not None and wide:
            path: Path = ("routes", index, "action")
            yield compiled.loaded.document.problem(path, _OPENS.format(spec.action))


def _internal(compiled: Compiled) -> Iterator[Problem]:
    for index, rule in enumerate(compiled.access.rules):
        if rule.paths and Action.ADMIN not in rule.actions and all(_is_internal(compiled, rule, g) for g in rule.paths):
            path: Path = ("acl", "rules", index)
            yield compiled.loaded.document.problem(path, _TEXT)


def _is_internal(compiled: Compiled, rule: Rule, glob: Glob) -> bool:
    """Return whether all that a glob matches is internal."""
    prefix = glob.text
    for wild in "*?":
        prefix = prefix.partition(wild)[0]
    below = prefix != glob.text
    prefix = prefix.rpartition("/")[0] if below else prefix
    methods = rule.methods or _METHODS
    return all(_leads_to_internal(compiled, method, prefix, below=below) for method in methods)


def _leads_to_internal(compiled: Compiled, method: str, prefix: str, *, below: bool) -> bool:
    found = compiled.routes.find("", method, prefix)
    if below and not isinstance(found, Missing) and found.route.block.handler is not None:
        prefix = f"{prefix}/-"  # an endpoint of the gateway has the name of the folder
        found = compiled.routes.find("", method, prefix)
    if isinstance(found, Missing):
        return False
    spec: RouteSpec = found.route
    if not spec.noetl or spec.action is not None:
        return False
    try:
        target = Rewrite(spec.block.rewrite, parse_pattern(spec.pattern)).apply(prefix, found.params)
    except BadRequest:
        return False
    return is_internal_area(target, below=below)
