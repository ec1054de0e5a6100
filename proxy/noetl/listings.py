"""Parse the entries of the catalog and of the list of executions, for both dialects. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import yaml

from proxy.noetl.executions import normal_status


@dataclass(frozen=True, slots=True)
class CatalogEntry:
    """A playbook or an agent in the catalog.

    Args:
        path: the path.
        catalog_id: the id of this version; None if the server names none.
        version: the version.
        kind: the kind of the resource.
        description: the description in its metadata.
        workload: the variables with their defaults, a JSON value.
    """

    path: str
    catalog_id: str | None
    version: int | None
    kind: str | None
    description: str | None
    workload: Any


@dataclass(frozen=True, slots=True)
class ExecutionSummary:
    """An entry of the list of executions.

    Args:
        execution_id: the id, as text.
        path: the path of the playbook.
        status: `pending`, `running`, `completed`, `failed` or `cancelled`.
        start_time: the start, as sent by the upstream.
        end_time: the end, as sent by the upstream.
    """

    execution_id: str
    path: str | None
    status: str
    start_time: str | None
    end_time: str | None


def is_id(value: Any) -> bool:
    """Return True if a JSON value can be an id: a text or a whole number, depending on the dialect."""
    return (isinstance(value, str) and value != "") or (isinstance(value, int) and not isinstance(value, bool))


def started_ids(document: Any) -> tuple[str, ...]:
    """Return the ids of the executions that a response says it has started; a duplicate was started by another request.

    Args:
        document: the response to a start, to a batch of them, or of an endpoint that runs a playbook for its answer.
    """
    if not isinstance(document, dict):
        return ()
    if "ai_execution_id" in document:  # its execution_id would be the one that was analyzed
        ids = [document["ai_execution_id"]]
    else:
        results = document.get("results")
        parts = [document, *results] if isinstance(results, list) else [document]
        ids = [part.get("execution_id") for part in parts if isinstance(part, dict) and not is_duplicate(part)]
    return tuple(dict.fromkeys(str(found) for found in ids if is_id(found)))


def is_duplicate(response: dict[str, Any]) -> bool:
    """Return whether the response to a start names an execution that another request has started."""
    return str(response.get("status")).lower() == "duplicate"


def catalog_entry(raw: Any) -> CatalogEntry | None:
    """Return an entry of the catalog from its JSON; None if it has no path."""
    if not isinstance(raw, dict) or not isinstance(raw.get("path"), str):
        return None
    payload = raw.get("payload")
    document = payload if isinstance(payload, dict) else _parse(raw.get("content"))
    metadata = document.get("metadata")
    description = metadata.get("description") if isinstance(metadata, dict) else None
    version = raw.get("version")
    return CatalogEntry(
        path=raw["path"],
        catalog_id=str(raw["catalog_id"]) if is_id(raw.get("catalog_id")) else None,
        version=version if isinstance(version, int) else None,
        kind=str(raw["kind"]) if raw.get("kind") else None,
        description=str(description) if description else None,
        workload=document.get("workload"),
    )


def _parse(content: Any) -> dict[str, Any]:
    if not isinstance(content, str):
        return {}
    try:
        document = yaml.safe_load(content)
    except (yaml.YAMLError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def execution_summary(item: dict[str, Any]) -> ExecutionSummary:
    """Return an entry of the list of executions from its JSON."""

    def text(*names: str) -> str | None:
        return next((str(item[name]) for name in names if item.get(name)), None)

    return ExecutionSummary(
        execution_id=str(item.get("execution_id")),
        path=text("path"),
        status=normal_status(item.get("status")),
        start_time=text("start_time", "started_at"),
        end_time=text("end_time", "completed_at"),
    )
