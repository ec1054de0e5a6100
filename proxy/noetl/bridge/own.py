"""Requests that neither server serves: the gateway makes their responses, with the calls that a server does serve.

They are authorized before, as what they are made of: `rerun` as a run of the playbook, `content` as a look at it or a
new version of it.
"""

from __future__ import annotations

import asyncio
from typing import Any

from proxy.errors import BadRequest, NotFound, PayloadTooLarge
from proxy.http.json import parse_json, write_json
from proxy.noetl.api import Answer, NoetlApi
from proxy.noetl.bridge.queries import parameters
from proxy.noetl.bridge.validation import validated
from proxy.noetl.needs import is_id
from proxy.noetl.on_behalf import OnBehalf
from proxy.noetl.truth import rerun

MAX_VALIDATED = 1024**2
"""The largest body of a request to validate a playbook, in bytes."""


async def own_answer(
    api: NoetlApi, row: str, execution_id: str, query: str, body: bytes, on_behalf: OnBehalf
) -> Answer:
    """Return the status and the body of the response to a request of a row that the gateway serves itself.

    Args:
        api: the NoETL API.
        row: the name of the row.
        execution_id: the execution that the path names.
        query: the query of the request.
        body: its body; empty if it has none.
        on_behalf: the user and the request for which calls are made.

    Raises:
        GatewayError: the request is malformed, or a call failed.
    """
    if row == "validate" and len(body) > MAX_VALIDATED:
        raise PayloadTooLarge(detail=f"{len(body)} bytes, {MAX_VALIDATED} are validated")
    fields = await asyncio.to_thread(_fields, body)
    if row == "validate":
        return 200, write_json(await asyncio.to_thread(validated, fields.get("content")))
    if row == "rerun":
        return await _rerun(api, execution_id, fields, on_behalf)
    named = parameters(query).get("playbook_id", "")
    if not named:
        raise BadRequest("playbook_id is required: the path or the id of a playbook")
    if body:
        sent = {"content": fields.get("content"), "resource_type": "Playbook"}
        return await api.send("POST", "/api/catalog/register", on_behalf, sent)
    return await _content(api, named, on_behalf)


def _fields(body: bytes) -> dict[str, Any]:
    found = parse_json(body) if body else {}
    if not isinstance(found, dict):
        raise BadRequest("The body must be a JSON object")
    return found


async def _rerun(api: NoetlApi, execution_id: str, fields: dict[str, Any], on_behalf: OnBehalf) -> Answer:
    """Start the playbook of an execution again, with its first workload, changed member by member."""
    workload = fields.get("workload")
    if workload is not None and not isinstance(workload, dict):
        raise BadRequest("workload must be an object")
    path = await api.path_of(execution_id, on_behalf)
    if path is None:
        raise NotFound("Execution not found")
    started = await rerun(api, execution_id, path, workload or {}, on_behalf, same_version=True)
    document = {"execution_id": started.execution_id, "status": "started" if started.is_new else "duplicate"}
    return 200, write_json({**document, "path": path, "rerun_of": execution_id})


async def _content(api: NoetlApi, named: str, on_behalf: OnBehalf) -> Answer:
    """Return the entry of the catalog with a path or an id."""
    if not is_id(named):
        return await api.send("POST", "/api/catalog/resource", on_behalf, {"path": named})
    answer = await api.send("POST", "/api/catalog/resource", on_behalf, {"catalog_id": named})
    path = api.known_catalog_path(named)
    if answer[0] != NotFound.status or path is None:
        return answer
    return await api.send("POST", "/api/catalog/resource", on_behalf, {"path": path})
