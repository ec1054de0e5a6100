"""What a request to the NoETL API is judged on: pure data and pure functions.

Running a playbook, however it is requested, is judged on that playbook; reading or changing an execution on its
playbook, or on who started it; everything else on its path. The relay, `proxyRequest`, `explain` and `acl.tests` all
classify by this module. It decides nothing; `authorize.py` does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from proxy.errors import BadRequest, NotFound
from proxy.policy.acl import Action

_ID = re.compile(r"[0-9]{1,20}")
_WORD = re.compile(r"[A-Za-z_-]+")
_USUAL_EXECUTION = re.compile(r"/api/executions/([0-9]{1,20})(?:/([a-z]*))?")
_BAD_NAME = re.compile(r"[\x00-\x1f\x7f\\\ud800-\udfff]|(?:^|/)\.\.?(?:/|$)|^/|/$|//|^\s|\s$")


class Kind(StrEnum):
    """What a request is judged on."""

    EXECUTE = "execute"
    RERUN = "rerun"
    EXECUTION = "execution"
    RESOURCE = "resource"
    PATH = "path"


JUDGED_BY_BODY = frozenset({Kind.EXECUTE, Kind.RESOURCE})
"""The playbook stands in the request's body, which must be JSON."""
STARTS = frozenset({Kind.EXECUTE, Kind.RERUN})
"""The response names a new execution."""


def needs_json(kind: Kind, *, has_body: bool) -> bool:
    """Return whether the body of a request must be JSON for it to be judged, or forwarded as what it was judged on."""
    return kind in JUDGED_BY_BODY or (kind is Kind.RERUN and has_body)


@dataclass(frozen=True, slots=True)
class Judged:
    """What a request is judged on: its kind, the action that it needs, and the execution that it is about."""

    kind: Kind
    action: Action
    execution_id: str = ""


_EXECUTE = Judged(Kind.EXECUTE, Action.EXECUTE)
_RESOURCE = Judged(Kind.RESOURCE, Action.VIEW)


def classify(method: str, api_path: str, action: Action | None) -> Judged:
    """Return what a request is judged on.

    Args:
        method: of the request.
        api_path: the upstream path, normalised. Spellings that a server may take for the same endpoint (upper case,
            empty segments, a slash at the end) are that endpoint.
        action: the route's own action, if it has one.

    Raises:
        NotFound: a malformed execution id.
    """
    found = _USUAL_EXECUTION.fullmatch(api_path)
    if found is not None:
        return _execution(method, found[1], found[2] or "", action)
    segments = [segment for segment in api_path.lower().split("/") if segment]
    rest = segments[1:] if segments[:1] == ["api"] else []
    if method == "POST" and rest == ["execute"]:
        return _EXECUTE
    if method == "POST" and rest == ["catalog", "resource"]:
        return _RESOURCE
    if len(rest) >= 2 and rest[0] == "executions":
        if _ID.fullmatch(rest[1]):
            return _execution(method, rest[1], "/".join(rest[2:]), action)
        if not _WORD.fullmatch(rest[1]):
            raise NotFound("Execution not found")
    return Judged(Kind.PATH, action or Action.of_method(method))


def _execution(method: str, execution_id: str, tail: str, action: Action | None) -> Judged:
    """Return what a request about one execution is judged on; `tail` is the path behind its id."""
    if tail and method == "POST":
        if tail == "rerun":
            return Judged(Kind.RERUN, Action.EXECUTE, execution_id)
        if tail == "cancel":
            return Judged(Kind.EXECUTION, Action.EXECUTE, execution_id)
    return Judged(Kind.EXECUTION, Action.of_method(method), execution_id)


def is_id(value: Any) -> bool:
    """Return whether a value is an id of an execution or a catalog entry: a number, or its digits."""
    return isinstance(value, str | int) and not isinstance(value, bool) and _ID.fullmatch(str(value)) is not None


def playbook_name(value: Any, field: str) -> str:
    """Return a playbook's path as a client gave it in `field`. Raises BadRequest for a malformed or ambiguous one."""
    if not isinstance(value, str) or not value:
        raise BadRequest(f"{field} is required: the path of a playbook")
    if len(value) > 512 or _BAD_NAME.search(value):
        raise BadRequest(f"{field} is not the path of a playbook")
    return value


class NamedPlaybook(NamedTuple):
    """The playbook that a body names: its path, or the id of its catalog entry."""

    path: str | None
    catalog_id: str | None


def named_playbook(kind: Kind, document: Any) -> NamedPlaybook:
    """Return the playbook that the JSON body of an `execute` or `resource` request names.

    Raises:
        BadRequest: no playbook is named, a malformed one, or more than one.
    """
    if not isinstance(document, Mapping):
        raise BadRequest("The body must be a JSON object")
    path, catalog_id = document.get("path"), document.get("catalog_id")
    if path is not None and catalog_id is not None:
        raise BadRequest("Give path or catalog_id, not both")
    if catalog_id is None or kind is Kind.RESOURCE:
        return NamedPlaybook(playbook_name(path, "path"), None)
    if not is_id(catalog_id):
        raise BadRequest("catalog_id must be a number")
    return NamedPlaybook(None, str(catalog_id))
