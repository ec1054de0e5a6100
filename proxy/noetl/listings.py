"""Parse the entries of the catalog and of the list of executions, for both dialects. Pure.

Large lists and YAML take long: they are parsed in threads.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from proxy.http.json_elements import elements
from proxy.noetl.executions import ENDED, normal_status
from proxy.noetl.safe_yaml import YamlProblem, load_yaml

_WHOLE = frozenset({"apiVersion", "kind", "metadata", "workflow"})


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
        end_time: the end, as sent by the upstream; None until it has ended.
    """

    execution_id: str
    path: str | None
    status: str
    start_time: str | None
    end_time: str | None


class About(NamedTuple):
    """What the content of a playbook says: the description in its metadata, and its workload."""

    description: str | None
    workload: Any


class NewestEntries(NamedTuple):
    """The list of the catalog: the newest version of each path as sent, sorted by path, and the path of each id."""

    entries: list[dict[str, Any]]
    paths: dict[str, str]


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


def newest_entries(data: bytes, kind: str | None) -> NewestEntries:
    """Return the newest version of each entry in the list of the catalog.

    Args:
        data: the list: `{"entries": […]}`.
        kind: only entries of this kind, in any case; None for all.

    Raises:
        ValueError or RecursionError: it is not a list of entries, each with its path.
    """
    newest: dict[str, dict[str, Any]] = {}
    paths: dict[str, str] = {}
    for entry, _ in elements(data, "entries"):
        path = entry.get("path") if isinstance(entry, dict) else None
        if not isinstance(path, str):
            raise ValueError("an entry without a path")
        catalog_id = entry_id(entry)
        if catalog_id is not None:
            paths[catalog_id] = path
        if kind is not None and str(entry.get("kind") or kind).lower() != kind.lower():
            continue
        have = newest.get(path)
        if have is None or _version(entry) >= _version(have):
            newest[path] = entry
    return NewestEntries([newest[path] for path in sorted(newest)], paths)


def entry_id(raw: dict[str, Any]) -> str | None:
    """Return the catalog id of an entry, as text; None if it has none."""
    return str(raw["catalog_id"]) if is_id(raw.get("catalog_id")) else None


def _version(entry: dict[str, Any]) -> int:
    version = entry.get("version")
    return version if isinstance(version, int) else 0


def content_to_read(raw: dict[str, Any]) -> str | None:
    """Return the content of an entry that has to be read for `catalog_entry`; None if its payload says all."""
    content = raw.get("content")
    return content if isinstance(content, str) and not _is_whole(raw.get("payload")) else None


def _is_whole(payload: Any) -> bool:
    """Return whether the payload of an entry is the whole playbook, as on the Python server."""
    return isinstance(payload, dict) and payload.keys() >= _WHOLE


def about_of(content: str) -> About:
    """Return what the content of a playbook says. It is YAML, and may take long."""
    return _about(parsed_content(content))


def _about(document: dict[str, Any]) -> About:
    metadata = document.get("metadata")
    description = metadata.get("description") if isinstance(metadata, dict) else None
    return About(str(description) if description else None, document.get("workload"))


def catalog_entry(raw: Any, read: About | None) -> CatalogEntry | None:
    """Return an entry of the catalog from its JSON; None if it has no path.

    Args:
        raw: the JSON. `payload` is the whole playbook on the Python server, and its workload on the Rust server.
        read: what its content says, if that was read.
    """
    if not isinstance(raw, dict) or not isinstance(raw.get("path"), str):
        return None
    payload, about = raw.get("payload"), read or About(None, None)
    if isinstance(payload, dict):
        about = _about(payload) if _is_whole(payload) else about._replace(workload=payload)
    version = raw.get("version")
    return CatalogEntry(
        path=raw["path"],
        catalog_id=entry_id(raw),
        version=version if isinstance(version, int) else None,
        kind=str(raw["kind"]).lower() if raw.get("kind") else None,
        description=about.description,
        workload=about.workload,
    )


def parsed_content(content: str, *, core: bool = False) -> dict[str, Any]:
    """Return the mapping that the content of a playbook is; empty if it is none, or too large. May take long.

    `core`: as the Rust server reads it; see `load_yaml`.
    """
    try:
        document = load_yaml(content, core=core)
    except YamlProblem:
        return {}
    return document if isinstance(document, dict) else {}


def execution_page(data: bytes) -> list[ExecutionSummary]:
    """Return a page of the list of executions.

    Raises:
        ValueError or RecursionError: it is not a list of executions, each with its id.
    """
    found = []
    for item, _ in elements(data, None):
        if not isinstance(item, dict) or not is_id(item.get("execution_id")):
            raise ValueError("an execution without its id")
        found.append(execution_summary(item))
    return found


def execution_summary(item: dict[str, Any]) -> ExecutionSummary:
    """Return an entry of the list of executions from its JSON."""

    def text(*names: str) -> str | None:
        return next((str(item[name]) for name in names if item.get(name)), None)

    status = normal_status(item.get("status"))
    return ExecutionSummary(
        execution_id=str(item.get("execution_id")),
        path=text("path"),
        status=status,
        start_time=text("start_time", "started_at"),
        end_time=text("end_time", "completed_at") if status in ENDED else None,
    )
