"""What the JSON bodies of requests to the NoETL API name, one function per endpoint. Pure.

Each returns what the request needs, and raises BadRequest for a body that names nothing, or something in two ways.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from proxy.errors import BadRequest, NotFound
from proxy.noetl.content import registered
from proxy.noetl.needs import INTERNAL, MAX_ID, About, Need, Needs, is_id, playbook_name
from proxy.policy.acl import Action

MAX_MEMBERS: Final = 1000
"""The most members of a batch."""
_SHOWS = frozenset({"initialize", "ping", "tools/list"})
_PLAYBOOK_FIELDS = frozenset({"playbook", "playbook_path", "playbook_name"})


def _object(document: Any) -> dict[str, Any]:
    if not isinstance(document, dict):
        raise BadRequest("The body must be a JSON object")
    return document


def _one(document: Any, action: Action) -> Need:
    """Return the need on the playbook that an object names by `path` or `catalog_id`."""
    fields = _object(document)
    path, catalog_id = fields.get("path"), fields.get("catalog_id")
    if path is not None and catalog_id is not None:
        raise BadRequest("Give path or catalog_id, not both")
    if catalog_id is None:
        return Need(About.PLAYBOOK, action, playbook_name(path, "path"))
    if not is_id(catalog_id):
        raise BadRequest("catalog_id must be a number")
    if int(catalog_id) > MAX_ID:
        raise NotFound("Playbook not found")
    return Need(About.CATALOG_ID, action, str(catalog_id))


def execute(document: Any) -> Needs:
    """`POST /execute`."""
    return (_one(document, Action.EXECUTE),)


def resource(document: Any) -> Needs:
    """`POST /catalog/resource`."""
    return (_one(document, Action.VIEW),)


def _run(document: Any, field: str) -> Need:
    """Return the need to run the playbook that a field names. The server has a default; that is not guessed."""
    return Need(About.PLAYBOOK, Action.EXECUTE, playbook_name(_object(document).get(field), field))


def _members(values: Any, field: str) -> list[Any]:
    if not isinstance(values, list) or not values:
        raise BadRequest(f"{field} must be a list that is not empty")
    if len(values) > MAX_MEMBERS:
        raise BadRequest(f"{field} may have {MAX_MEMBERS} members")
    return values


def execute_batch(document: Any) -> Needs:
    """`POST /execute/batch`: each member is a request to run a playbook."""
    members = _members(_object(document).get("executions"), "executions")
    return tuple(dict.fromkeys(_one(member, Action.EXECUTE) for member in members))


def analyze(document: Any) -> Needs:
    """`POST /executions/{id}/analyze/ai`."""
    return (_run(document, "analysis_playbook_path"),)


def explain(document: Any) -> Needs:
    """`POST /catalog/playbooks/explain/ai`."""
    return _one(document, Action.VIEW), _run(document, "explanation_playbook_path")


def generate(document: Any) -> Needs:
    """`POST /catalog/playbooks/generate/ai`."""
    return (_run(document, "generator_playbook_path"),)


def messages_to(playbook: str) -> Callable[[Any], Needs]:
    """`POST /mcp/playbook/{path}/jsonrpc`: return what reads a message of JSON-RPC, or a batch of them."""

    def read(document: Any) -> Needs:
        messages = _members(document, "The batch") if isinstance(document, list) else [document]
        return tuple(dict.fromkeys(_message(playbook, message) for message in messages))

    return read


def _message(playbook: str, message: Any) -> Need:
    method = _object(message).get("method")
    if not isinstance(method, str):
        raise BadRequest("method is required")
    if method == "tools/call":
        return Need(About.PLAYBOOK, Action.EXECUTE, playbook)
    if method in _SHOWS or method.startswith("notifications/"):
        return Need(About.PLAYBOOK, Action.VIEW, playbook)
    return INTERNAL


def subscribe(document: Any) -> Needs:
    """`POST /subscriptions`, `POST /subscriptions/register`: all playbooks that the body names, at any depth."""
    found: list[Need] = []
    fields = _object(document)
    if fields.get("path") is not None or fields.get("catalog_id") is not None:
        found.append(_one(fields, Action.EXECUTE))
    found += _named_below(fields)
    if not found:
        raise BadRequest("path is required: the path of a playbook")
    return tuple(dict.fromkeys(found))


def _named_below(fields: dict[str, Any]) -> list[Need]:
    """Return the needs on the playbooks that fields of a JSON value name."""
    found: list[Need] = []
    waiting: list[Any] = [fields]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting += value
        elif isinstance(value, dict):
            for name, member in value.items():
                waiting.append(member)
                if name in _PLAYBOOK_FIELDS and isinstance(member, str):
                    found.append(Need(About.PLAYBOOK, Action.EXECUTE, playbook_name(member, name)))
                elif name in _PLAYBOOK_FIELDS and isinstance(member, dict):
                    found.append(_one(member, Action.EXECUTE))
    return found


def register(document: Any) -> Needs:
    """`POST /catalog/register`, `PUT /catalog/playbook/content`: whatever the content may be registered under.

    An MCP server names playbooks that run for its users: the user who registers it must be allowed to run them.
    """
    fields = _object(document)
    names, runs = registered(fields.get("content"))
    if fields.get("path") is not None:
        names = (*names, playbook_name(fields["path"], "path"))
    needs = [Need(About.PLAYBOOK, Action.MODIFY, name) for name in dict.fromkeys(names)]
    return (*needs, *(Need(About.PLAYBOOK, Action.EXECUTE, name) for name in runs))


def restore(document: Any) -> Needs:
    """`POST /catalog/restore`."""
    return (_one(document, Action.MODIFY),)


def delete(document: Any) -> Needs:
    """`POST /catalog/delete`."""
    return (_one(document, Action.DELETE),)
