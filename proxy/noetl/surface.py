"""What a request to the NoETL API is judged on: one table of its endpoints, and pure functions.

An endpoint is of one of these classes: it runs a playbook, shows the source of one, writes one, is about an execution,
is judged by its path, or is internal: for workers and operators. What is not in the table is internal. The relay,
`proxyRequest`, `explain` and `acl.tests` all classify by this module. It decides nothing; `authorize.py` does.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from proxy.errors import NotFound
from proxy.noetl import bodies
from proxy.noetl.needs import About, InQuery, Need, Needs, is_id, name_in_path, needs_of_query
from proxy.policy.acl import Action

BodyReader = Callable[[Any], Needs]
_WORD = re.compile(r"[A-Za-z_-]+")
_READ = frozenset({"GET", "HEAD"})
_POST = frozenset({"POST"})
_CHANGE = frozenset({"POST", "PUT", "PATCH", "DELETE"})


class Kind(StrEnum):
    """The class of an endpoint."""

    RUN = "run"
    SOURCE = "source"
    WRITE = "write"
    EXECUTION = "execution"
    PATH = "path"
    INTERNAL = "internal"


class Listing(StrEnum):
    """What a list consists of, whose response shows each user only what that user may view."""

    CATALOG = "catalog"
    EXECUTIONS = "executions"


class Starts(StrEnum):
    """Whether a request starts executions: of the playbook that it is judged on, or also of another one."""

    NONE = ""
    NAMED = "named"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Judged:
    """What has to be looked at to decide about a request.

    Args:
        kind: the class of the endpoint.
        needs: what the method and the path need.
        query: the parameter of the query that names what is needed, too.
        body: reads from the JSON body what is needed, too; None if the body is not judged.
        starts: whether the response names a new execution.
        json: the body must be JSON, if there is one.
        listing: the response is a list that is filtered.
        content: the body has content of a playbook; it may be ten times as large, and is read in a thread.
        cancels: the execution that the request cancels, unless that has ended; empty if it cancels none.

    `varies`: requests with the same method and path need different things.
    """

    kind: Kind
    needs: Needs = ()
    query: InQuery | None = None
    body: BodyReader | None = None
    starts: Starts = Starts.NONE
    json: bool = False
    content: bool = False
    listing: Listing | None = None
    cancels: str = ""
    varies: bool = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "varies", self.query is not None or self.body is not None)

    def must_be_json(self, *, has_body: bool) -> bool:
        """Return whether the body must be JSON, for the request to be judged or forwarded as what it was judged on."""
        return self.json and (has_body or self.body is not None)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A row of the table.

    In `path`, `{id}` is an execution, `{path}` the path of a playbook, `{name}` one segment and `{rest}` any number of
    segments. `needs` are those on what the path names; `body_of` returns what reads the body, for the playbook in the
    path. `cancels`: it cancels the execution in the path. The other fields are as of `Judged`.
    """

    methods: frozenset[str]
    path: str
    kind: Kind
    needs: tuple[tuple[About, Action], ...] = ()
    query: InQuery | None = None
    body: BodyReader | None = None
    starts: Starts = Starts.NONE
    json: bool = False
    content: bool = False
    listing: Listing | None = None
    body_of: Callable[[str], BodyReader] | None = None
    cancels: bool = False


def by_path(action: Action) -> Judged:
    """Return what a request is judged on that needs an action on its path."""
    return Judged(Kind.INTERNAL if action is Action.ADMIN else Kind.PATH, (Need(About.PATH, action),))


_VIEW_RUN, _CHANGE_RUN = ((About.EXECUTION, Action.VIEW),), ((About.EXECUTION, Action.EXECUTE),)
_BY_ID = InQuery("execution_id", About.EXECUTION, Action.VIEW)


def _of_executions() -> Iterable[Endpoint]:
    yield Endpoint(
        _POST, "executions/{id}/rerun", Kind.RUN, ((About.RUN, Action.EXECUTE),), starts=Starts.NAMED, json=True
    )
    for tail in ("", "/status", "/events", "/cancellation-check"):
        yield Endpoint(_READ, f"executions/{{id}}{tail}", Kind.EXECUTION, _VIEW_RUN)
    yield Endpoint(_POST, "executions/{id}/analyze", Kind.EXECUTION, _VIEW_RUN)
    ai = "executions/{id}/analyze/ai"
    yield Endpoint(_POST, ai, Kind.RUN, _VIEW_RUN, body=bodies.analyze, starts=Starts.OTHER, json=True)
    yield Endpoint(_POST, "executions/{id}/cancel", Kind.EXECUTION, _CHANGE_RUN, cancels=True)
    for tail in ("stop", "finalize"):
        yield Endpoint(_POST, f"executions/{{id}}/{tail}", Kind.EXECUTION, _CHANGE_RUN)
    unknown = "executions/{id}/{rest}"
    yield Endpoint(_READ, unknown, Kind.INTERNAL, ((About.PATH, Action.ADMIN), *_VIEW_RUN))
    yield Endpoint(_CHANGE, unknown, Kind.INTERNAL, ((About.PATH, Action.ADMIN), (About.RUN, Action.EXECUTE)))
    for area in ("vars", "result", "temp"):
        yield Endpoint(_READ, f"{area}/{{id}}/{{rest}}", Kind.EXECUTION, _VIEW_RUN)
        yield Endpoint(_CHANGE, f"{area}/{{id}}/{{rest}}", Kind.EXECUTION, _CHANGE_RUN)
    yield Endpoint(_READ, "ehdb/executions/{id}/{rest}", Kind.EXECUTION, _VIEW_RUN)
    yield Endpoint(_READ, "postgres/weather_alert_summary/{id}/last", Kind.EXECUTION, _VIEW_RUN)
    yield Endpoint(_READ, "replay/state", Kind.EXECUTION, query=_BY_ID)
    yield Endpoint(_READ, "aggregate/loop/results", Kind.EXECUTION, query=_BY_ID)


def _of_playbooks() -> Iterable[Endpoint]:
    execute, view = ((About.PLAYBOOK, Action.EXECUTE),), ((About.PLAYBOOK, Action.VIEW),)
    yield Endpoint(_POST, "execute", Kind.RUN, body=bodies.execute, starts=Starts.NAMED, json=True)
    for tail in ("lifecycle/{name}", "discover"):
        yield Endpoint(_POST, f"mcp/{{path}}/{tail}", Kind.RUN, execute)  # it runs a playbook of the resource's choice
    jsonrpc = "mcp/playbook/{path}/jsonrpc"
    yield Endpoint(_POST, jsonrpc, Kind.RUN, body_of=bodies.messages_to, json=True)
    for path, starting in (
        ("execute/batch", bodies.execute_batch),
        ("catalog/playbooks/explain/ai", bodies.explain),
        ("catalog/playbooks/generate/ai", bodies.generate),
    ):
        yield Endpoint(_POST, path, Kind.RUN, body=starting, starts=Starts.OTHER, json=True)
    for path in ("subscriptions", "subscriptions/register"):
        yield Endpoint(_POST, path, Kind.RUN, body=bodies.subscribe, json=True)
    yield Endpoint(_POST, "catalog/resource", Kind.SOURCE, body=bodies.resource, json=True)
    by_id = InQuery("playbook_id", About.PLAYBOOK, Action.VIEW)
    yield Endpoint(_READ, "catalog/playbook/content", Kind.SOURCE, query=by_id)
    yield Endpoint(_READ, "catalog/{path}/ui_schema", Kind.SOURCE, view)
    yield Endpoint(_READ, "catalog/{path}", Kind.SOURCE, view)


def _of_writes() -> Iterable[Endpoint]:
    yield Endpoint(_POST, "catalog/register", Kind.WRITE, body=bodies.register, json=True, content=True)
    yield Endpoint(_POST, "catalog/restore", Kind.WRITE, body=bodies.restore, json=True)
    yield Endpoint(_POST, "catalog/delete", Kind.WRITE, body=bodies.delete, json=True)
    query = InQuery("playbook_id", About.PLAYBOOK, Action.MODIFY)
    path = "catalog/playbook/content"
    yield Endpoint(frozenset({"PUT"}), path, Kind.WRITE, query=query, body=bodies.register, json=True, content=True)


def _of_paths_and_lists() -> Iterable[Endpoint]:
    view = ((About.PATH, Action.VIEW),)
    for path in ("health", "dashboard/stats", "dashboard/widgets", "worker/pools", "status"):
        yield Endpoint(_READ, path, Kind.PATH, view)
    yield Endpoint(_POST, "catalog/playbooks/validate", Kind.PATH, view)
    yield Endpoint(_READ, "executions", Kind.EXECUTION, listing=Listing.EXECUTIONS)
    for path in ("catalog/list", "catalog/agents/list"):
        yield Endpoint(_POST, path, Kind.SOURCE, listing=Listing.CATALOG)


ENDPOINTS = (*_of_executions(), *_of_paths_and_lists(), *_of_playbooks(), *_of_writes())
"""The table, below `/api`: the first endpoint that matches a request counts. Everything else is internal."""
_PLACES = {"{id}": "/([0-9]{1,20})", "{path}": "/(.+)", "{name}": "/[^/]+", "{rest}": "(?:/.*)?"}
_Compiled = tuple[re.Pattern[str], Endpoint]


def _compile(endpoint: Endpoint) -> _Compiled:
    parts = (_PLACES.get(part, "/" + re.escape(part)) for part in endpoint.path.split("/"))
    return re.compile("".join(parts), re.IGNORECASE | re.ASCII), endpoint


_BY_AREA: dict[str, tuple[_Compiled, ...]] = {}
for _endpoint in ENDPOINTS:
    _area = _endpoint.path.partition("/")[0]
    _BY_AREA[_area] = (*_BY_AREA.get(_area, ()), _compile(_endpoint))


def classify(method: str, api_path: str, action: Action | None) -> Judged:
    """Return what a request is judged on.

    Args:
        method: of the request.
        api_path: the upstream path, normalised. Spellings that a server may take for the same endpoint (upper case,
            empty segments, a slash at the end) are that endpoint.
        action: the route's own action, if it has one. It counts for requests that are judged by their path.

    Raises:
        NotFound: a malformed execution id.
        BadRequest: what the path names is not the path of a playbook.
    """
    segments = [segment for segment in api_path.split("/") if segment]
    if not segments or segments[0].lower() != "api":
        return by_path(action or Action.of_method(method))
    area = segments[1].lower() if len(segments) > 1 else ""
    path = "/" + "/".join(segments[1:])
    fitting = ((regex.fullmatch(path), endpoint) for regex, endpoint in _BY_AREA.get(area, ()))
    found = [_judged(endpoint, match, action) for match, endpoint in fitting if match and method in endpoint.methods]
    if found and area == "mcp":
        return _all_of(found)
    if found:
        return found[0]
    if area == "executions" and len(segments) > 2 and not _WORD.fullmatch(segments[2]) and not is_id(segments[2]):
        raise NotFound("Execution not found")
    return by_path(action or Action.ADMIN)


def _judged(endpoint: Endpoint, match: re.Match[str], action: Action | None) -> Judged:
    named = match[1] if match.re.groups else ""
    if "{path}" in endpoint.path:
        named = name_in_path(named)
    on_path = (Need(About.PATH, action or needed) for about, needed in endpoint.needs if about is About.PATH)
    on_name = (Need(about, needed, named) for about, needed in endpoint.needs if about is not About.PATH)
    needs = (*on_path, *on_name)
    body = endpoint.body_of(named) if endpoint.body_of is not None else endpoint.body
    starts, json, content = endpoint.starts, endpoint.json, endpoint.content
    cancels = named if endpoint.cancels else ""
    return Judged(endpoint.kind, needs, endpoint.query, body, starts, json, content, endpoint.listing, cancels)


def _all_of(found: list[Judged]) -> Judged:
    """Return what is needed for each of the endpoints that servers could take a path for."""
    needs = tuple(dict.fromkeys(need for judged in found for need in judged.needs))
    body = next((judged.body for judged in found if judged.body is not None), None)
    return replace(found[0], needs=needs, body=body, json=body is not None)


def needs_of(judged: Judged, query: str, document: Any) -> Needs:
    """Return all that a request needs.

    Args:
        judged: what the request is judged on.
        query: of the request, with its question mark, or empty.
        document: its JSON body, if that is judged.

    Raises:
        BadRequest: the query or the body names nothing, something malformed, or more than one where one is needed.
    """
    needs = judged.needs
    if judged.query is not None:
        needs += needs_of_query(judged.query, query)
    if judged.body is not None:
        needs += judged.body(document)
    return needs


def is_internal_area(api_path: str, *, below: bool) -> bool:
    """Return whether all requests with this upstream path are internal; with `below`, those to the paths below, too."""
    segments = [segment.lower() for segment in api_path.split("/") if segment]
    if segments[:1] != ["api"] or len(segments) < 2:
        return False
    known = (endpoint.path.split("/") for endpoint in ENDPOINTS if endpoint.kind is not Kind.INTERNAL)
    return not any(_fits(pattern, segments[1:], below=below) for pattern in known)


def _fits(pattern: list[str], segments: list[str], *, below: bool) -> bool:
    """Return whether a path that is these segments, or begins with them, can be that of an endpoint."""
    for number, wanted in enumerate(pattern):
        if wanted == "{rest}":
            return True
        if number == len(segments):
            return below
        if wanted == "{path}":
            return True
        if wanted not in (segments[number], "{name}") and not (wanted == "{id}" and is_id(segments[number])):
            return False
    return len(pattern) == len(segments)
