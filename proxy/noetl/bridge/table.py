"""Which requests to the NoETL API are bridged: one table, consulted once per path. Pure.

A row names the functions that change its request and its response. No row knows another one.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from proxy.http.json import json_text
from proxy.http.json_members import read_object
from proxy.noetl.bridge import catalog, details, requests
from proxy.noetl.bridge.cancel import cancel
from proxy.noetl.bridge.listed import executions, executions_query
from proxy.noetl.bridge.messages import ClientRequest, Facts, JsonAnswer
from proxy.noetl.bridge.status import status
from proxy.noetl.bridge.text import UNEXPECTED, object_in
from proxy.noetl.dialect import Dialect

MAX_BODY = 10 * 1024**2
"""The largest body of a request that is changed, in bytes."""
Shape = Callable[[ClientRequest, JsonAnswer, Facts], JsonAnswer]
"""Returns the response for the client. Raises ValueError or RecursionError for one of an unexpected shape."""
BodyChange = Callable[[Any, str], requests.ChangedBody]
QueryChange = Callable[[Dialect | None, str, bool], requests.ChangedQuery]
"""Takes the dialect, the query, and whether the response is filtered for a user who may not view everything."""
_GET, _READ, _POST, _PUT = frozenset({"GET"}), frozenset({"GET", "HEAD"}), frozenset({"POST"}), frozenset({"PUT"})


def _as_it_is(request: ClientRequest, answer: JsonAnswer, facts: Facts) -> JsonAnswer:
    """Return a response of which only ids are changed, which is not the row's part."""
    read_object(answer.text)
    return answer


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table.

    Args:
        name: the name in `x-noetl-bridge`, in the metric and in the documentation.
        methods: the methods.
        path: the path below `/api/`; `{id}` is an execution.
        shape: makes the response for the client from a successful one.
        sent: the path that the request goes to instead, with `{id}`.
        sent_to_rust: the same on the Rust server only.
        body: changes the body of the request, which is a JSON object.
        query: changes the query of the request, depending on the dialect.
        with_state: its response depends on the state of the execution, which may need further calls.
        slow: its response may take long to make, even if it is small.
        refusal: the status of an error that `shape` reads, too.
        own: the gateway makes the response itself, with calls of its own or without any.
        calls: the methods and paths of these calls, with `{id}`, for people; some may not be needed.
    """

    name: str
    methods: frozenset[str]
    path: str
    shape: Shape = _as_it_is
    sent: str = ""
    sent_to_rust: str = ""
    body: BodyChange | None = None
    query: QueryChange | None = None
    with_state: bool = False
    slow: bool = False
    refusal: int = 0
    own: bool = False
    calls: tuple[str, ...] = ()

    def changed_body(self, body: bytes) -> requests.ChangedBody | None:
        """Return what becomes of a body; without a text if nothing does, None for one that is no small JSON object."""
        if self.body is None or not body or len(body) > MAX_BODY:
            return None
        document = object_in(body)
        if document is None:
            return None
        try:
            text = json_text(body)
            changed = self.body(document, text)
        except UNEXPECTED:
            return None
        return changed if changed.text != text else changed._replace(text="")


class Bridging(NamedTuple):
    """A request that is bridged: its row, and what it asks for."""

    row: Row
    request: ClientRequest


class BridgedPath(NamedTuple):
    """A bridged path: its row, the execution that it names, or an empty text, and what it asks for by itself."""

    row: Row
    execution_id: str
    bridging: Bridging

    def path(self, path: str, dialect: Dialect | None) -> str:
        """Return the path that goes upstream for the path of the request."""
        other = self.row.sent or (self.row.sent_to_rust if dialect is Dialect.RUST else "")
        return f"/api/{other.replace('{id}', self.execution_id)}" if other else path


ROWS = (
    Row("status", _READ, "executions/{id}/status", status, with_state=True),
    Row("detail", _READ, "executions/{id}", details.detail, query=details.detail_query),
    Row(
        "events", _READ, "executions/{id}/events", details.events,
        sent_to_rust="executions/{id}", query=details.detail_query,
    ),
    Row("list", _READ, "executions", executions, query=executions_query),
    Row("cancel", _POST, "executions/{id}/cancel", cancel, refusal=422),
    Row("stop", _POST, "executions/{id}/stop", cancel, sent="executions/{id}/cancel", refusal=422),
    Row("rerun", _POST, "executions/{id}/rerun", own=True, calls=("GET executions/{id}", "POST execute")),
    Row("catalog", _POST, "catalog/list", catalog.entries, body=requests.catalog_list, slow=True),
    Row(
        "catalog", _POST, "catalog/agents/list", catalog.entries,
        sent_to_rust="catalog/list", body=requests.agents_list, slow=True,
    ),
    Row("resource", _POST, "catalog/resource", catalog.entry, body=requests.resource, slow=True),
    Row("execute", _POST, "execute", body=requests.execute),
    Row("content", _GET, "catalog/playbook/content", catalog.entry, own=True, calls=("POST catalog/resource",)),
    Row("content", _PUT, "catalog/playbook/content", own=True, calls=("POST catalog/register",)),
    Row("validate", _POST, "catalog/playbooks/validate", slow=True, own=True),
)  # fmt: skip
"""The table. The rows `ids` and `errors` of the documentation apply to the responses of all of these."""
NAMES = tuple(dict.fromkeys(row.name for row in ROWS))


def _regex(path: str) -> re.Pattern[str]:
    return re.compile("/api/" + path.replace("{id}", "([0-9]{1,20})"))


_BY_PATTERN = [(_regex(row.path), row) for row in ROWS]


def row_of(method: str, api_path: str) -> BridgedPath | None:
    """Return the row that names a request; None if it is forwarded as it is.

    Args:
        method: of the request.
        api_path: the upstream path of the request, normalised.
    """
    for regex, row in _BY_PATTERN:
        found = regex.fullmatch(api_path) if method in row.methods else None
        if found is not None:
            execution_id = found[1] if regex.groups else ""
            return BridgedPath(row, execution_id, Bridging(row, ClientRequest(row.name, execution_id)))
    return None
