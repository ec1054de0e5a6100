"""Checks of the routes: patterns, handlers, rewrites, header edits."""

from __future__ import annotations

import re

from proxy.config.builtin import HANDLERS
from proxy.config.checker import Checker
from proxy.config.model import Gateway, RouteBlock
from proxy.config.model_upstreams import noetl_upstreams
from proxy.config.problems import Path
from proxy.http.header_edits import Direction, edit_problems
from proxy.http.target import PathError, normalise_path
from proxy.routing import PatternError, parse_pattern

_HOST = re.compile(r"(\*\.)?[A-Za-z0-9._-]+|[0-9A-Fa-f:.]+")


def check_routes(gateway: Gateway, check: Checker) -> None:
    for index, route in check.document.with_index(("routes",), gateway.routes or ()):
        path: Path = ("routes", index)
        check.value((*path, "path"), _pattern, route.path)
        check.networks((*path, "allow_from"), route.allow_from)
        for number, host in enumerate(route.host):
            if not _HOST.fullmatch(host):
                check.add((*path, "host", number), "must be a host, such as gw.example.com or *.example.com")
        if (route.handler is None) == (route.upstream is None):
            check.whole_entry(path, "needs exactly one of handler: NAME and upstream: NAME")
        elif route.handler is not None:
            _handler(route, path, check)
        elif route.upstream is not None:
            check.reference_to_block((*path, "upstream"), route.upstream, "upstreams", "upstream")
        if route.rewrite is not None:
            _rewrite(route, path, check)
        _header_edits(route, path, check)
        if route.rate_limit is not None:
            check.reference_to_block((*path, "rate_limit"), route.rate_limit, "rate_limits", "rate limit")


def _pattern(text: str) -> None:
    """Raise PatternError for a malformed pattern, and for one of another program's syntax."""
    parse_pattern(text)
    for segment in text.split("/"):
        if segment.strip("*") == "" and segment:
            raise PatternError(f'"{segment}" would be a literal segment: write {{name}}, or {{name:**}} at the end')
        if segment.startswith(":") and len(segment) > 1:
            raise PatternError(f'"{segment}" would be a literal segment: write {{{segment[1:]}}}')


def _header_edits(route: RouteBlock, path: Path, check: Checker) -> None:
    for direction in Direction:
        edit = route.headers.request if direction is Direction.REQUEST else route.headers.response
        for problem in edit_problems(direction, edit.set, edit.remove):
            place: Path = (*path, "headers", direction.value, problem.part.value, problem.entry)
            check.add(place, problem.text, key=not problem.is_value and isinstance(problem.entry, str))


def _handler(route: RouteBlock, path: Path, check: Checker) -> None:
    name = route.handler or ""
    facts = HANDLERS.get(name)
    if facts is None:
        check.reference((*path, "handler"), name, HANDLERS, "handler")
        return
    if facts.later:
        text = f"{name} is not available yet: {facts.later} will come with a later version; remove the route"
        check.add((*path, "handler"), text)
    upstreams = check.document.data.get("upstreams")
    noetl = noetl_upstreams(upstreams) or not check.is_valid(("upstreams",))
    if name == "graphql" and not noetl:
        check.add((*path, "handler"), "graphql needs an upstream of kind noetl: add it, or remove the route")
    for index, method in enumerate(route.methods):
        if method not in facts.methods and not (method == "HEAD" and "GET" in facts.methods):
            check.add((*path, "methods", index), f"{name} supports {', '.join(facts.methods)} only")
    for key in ("rewrite", "action", "timeout", "auth", "require", "websocket", "headers"):
        if key in route.model_fields_set:
            check.add((*path, key), "has an effect only on routes with an upstream", key=True)


def _rewrite(route: RouteBlock, path: Path, check: Checker) -> None:
    try:
        pattern = parse_pattern(route.path)
    except PatternError:
        return
    values = dict.fromkeys(pattern.names, "x")
    try:
        target = (route.rewrite or "").format_map(values)
        normalise_path(target)
    except (KeyError, ValueError, IndexError, AttributeError, PathError) as error:
        names = ", ".join(f"{{{name}}}" for name in pattern.names) or "none"
        why = str(error) if isinstance(error, PathError) else f"known parameters: {names}"
        check.add((*path, "rewrite"), f"does not give a valid path ({why})")
