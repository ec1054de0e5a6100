"""What a request to the NoETL API needs: actions on playbooks, executions and paths; and how they are read. Pure.

Names are read as the server will read them. What two servers could read in two ways is refused.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Any, NamedTuple
from urllib.parse import unquote_plus, unquote_to_bytes

from proxy.errors import BadRequest
from proxy.policy.acl import Action

_ID = re.compile(r"[0-9]{1,20}")
MAX_ID = 2**63 - 1
"""The largest id that a server can have given: ids have 63 bits."""
_BAD_NAME = re.compile(r"[\x00-\x1f\x7f\\\ud800-\udfff]|(?:^|/)\.\.?(?:/|$)|/$|//|^\s|\s$")


class About(StrEnum):
    """What an action is needed on.

    `EXECUTION`: the playbook of an execution, or the user started it; `RUN`: the playbook of an execution, and it makes
    no difference which user started it.
    """

    PATH = "path"
    PLAYBOOK = "playbook"
    CATALOG_ID = "catalog id"
    EXECUTION = "execution"
    RUN = "run"


class Need(NamedTuple):
    """An action that a request needs on what `name` names: a playbook, a catalog id or an execution.

    For `About.PATH` there is no name: the action is needed on the request's own path.
    """

    about: About
    action: Action
    name: str = ""


Needs = tuple[Need, ...]
INTERNAL = Need(About.PATH, Action.ADMIN)
"""The need of what only operators and workers may do."""


class InQuery(NamedTuple):
    """A parameter of the query that names an execution (`About.EXECUTION`) or a playbook, and the needed action."""

    parameter: str
    about: About
    action: Action


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


def name_in_path(text: str) -> str:
    """Return the playbook that a part of a request path names, percent-decoded. Raises BadRequest."""
    try:
        return playbook_name(unquote_to_bytes(text).decode(), "the path")
    except UnicodeDecodeError:
        raise BadRequest("bad URL encoding") from None


def needs_of_query(wanted: InQuery, query: str) -> Needs:
    """Return what the query of a request needs.

    Args:
        wanted: the parameter that names an execution or a playbook. Without it, the request is internal.
        query: of the request, with its question mark, or empty.

    Raises:
        BadRequest: the parameter is malformed, or there twice.
    """
    values = _values(query, wanted.parameter)
    if len(values) > 1:
        raise BadRequest(f"{wanted.parameter} is there twice")
    if not values:
        return (INTERNAL,)
    value = values[0]
    if is_id(value):
        about = About.CATALOG_ID if wanted.about is About.PLAYBOOK else wanted.about
        return (Need(about, wanted.action, value),)
    if wanted.about is not About.PLAYBOOK:
        raise BadRequest(f"{wanted.parameter} must be a number")
    return (Need(About.PLAYBOOK, wanted.action, playbook_name(value, wanted.parameter)),)


def _values(query: str, parameter: str) -> list[str]:
    """Return the values of a parameter. Raises BadRequest for a query that servers split in different ways."""
    if ";" in query:
        raise BadRequest("The query must not contain ;")
    pairs = (part.partition("=") for part in query.removeprefix("?").split("&"))
    try:
        return [unquote_plus(value, errors="strict") for name, _, value in pairs if unquote_plus(name) == parameter]
    except UnicodeDecodeError:
        raise BadRequest("bad URL encoding") from None
