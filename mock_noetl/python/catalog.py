"""The catalog: registration with its refusals, lists, single entries, forms of workloads, and MCP servers."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from datetime import date, datetime
from typing import Any

import yaml

from mock_noetl.catalog import Entry
from mock_noetl.errors import FullError, PlaybookError
from mock_noetl.playbook import MAX_TEXT, bounded
from mock_noetl.python import models
from mock_noetl.python.executions import bigint
from mock_noetl.python.playbook_models import problem
from mock_noetl.python.web import NO_NULLS, Problems, Refused, Unhandled, answer, stored
from mock_noetl.routes import Names
from mock_noetl.state import State
from mock_noetl.ui_schema import fields_of
from mock_noetl.values import iso
from mock_server.messages import Request, Response

MAX_CACHED = 100
CACHE_SECONDS = 300.0
_ALIASES = {
    "Playbook": "playbook", "Credential": "credential", "Credentials": "credential", "Secret": "credential",
    "Secrets": "credential", "MCP": "mcp", "ModelContextProtocol": "mcp", "Agent": "agent", "Memory": "memory",
}  # fmt: skip
_IMPLICIT_END = {
    "step": "end",
    "desc": "Implicit workflow aggregator (auto-injected)",
    "tool": {
        "kind": "python",
        "code": "def main():\n    # Implicit end step - aggregates all workflow results\n"
        "    return {'status': 'aggregated'}",
    },
}


class CatalogEndpoints:
    """The endpoints of the catalog."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._cache: OrderedDict[str, tuple[float, Entry]] = OrderedDict()

    def register(self, request: Request, names: Names) -> Response:
        """Register a resource."""
        problems = Problems()
        wanted = problems.body(request, models.REGISTER)
        problems.check()
        try:
            document = _loaded(wanted.content)
            kind, path = _kind_and_path(document, wanted.resource_type)
            if kind in ("playbook", "agent"):
                self._check(document, kind, path)
            whole = _with_end(document) if kind in ("playbook", "agent") else document
            if "\0" in path:
                raise ValueError(NO_NULLS)
            entry = self._state.catalog.add(path, kind, wanted.content, _jsonable(whole))
        except (yaml.YAMLError, AttributeError, TypeError, ValueError) as error:
            raise Refused(500, f"Error registering resource: {error}.") from None
        except PlaybookError as error:
            raise Refused(422, f"register_resource: '{path}' is not a valid {kind}: {error}") from None
        except (FullError, RecursionError) as error:
            raise Refused(500, f"Error registering resource: {error}.") from None
        message = f"Resource '{path}' version '{entry.version}' registered."
        return answer({
            "status": "success", "message": message, "path": path, "version": entry.version,
            "catalog_id": str(entry.catalog_id), "kind": kind,
        })  # fmt: skip

    def _check(self, document: Any, kind: str, path: str) -> None:
        """Raise Refused if a playbook is not as the server wants it, or has steps that this one does not run."""
        if not isinstance(document, dict):
            raise Refused(422, f"register_resource: '{path}' kind='{kind}' payload is not a YAML mapping")
        found = problem(document)
        if found is None and not self._state.settings.python_steps and _has_python(document):
            found = "this sandbox was started with --no-python-steps: it runs no code"
        if found is not None:
            raise Refused(422, f"register_resource: '{path}' is not a valid {kind}: {found}")

    # Lists and entries

    def listed(self, request: Request, names: Names) -> Response:
        """Return the entries that match, newest first."""
        problems = Problems()
        wanted = problems.body(request, models.CATALOG_LIST)
        problems.check()
        capabilities = _capabilities(wanted)
        kind = wanted.resource_type.lower() if wanted.resource_type else None
        stored("Error listing resources: ", kind, wanted.path, *capabilities)
        entries = [
            shown(entry)
            for entry in self._entries(wanted.path)
            if kind in (None, entry.kind)
            and (not (wanted.agent_only or capabilities) or _is_agent(entry, capabilities))
        ]
        return answer({"entries": entries})

    def agents(self, request: Request, names: Names) -> Response:
        """Return the entries that are agents, newest first."""
        problems = Problems()
        wanted = problems.body(request, models.AGENTS, models.Agents())
        problems.check()
        capabilities = _capabilities(wanted)
        stored("Error listing agent resources: ", wanted.path, *capabilities)
        entries = [shown(entry) for entry in self._entries(wanted.path) if _is_agent(entry, capabilities)]
        return answer({"entries": entries})

    def _entries(self, path: str | None) -> Iterator[Entry]:
        return reversed(self._state.catalog.versions(path)) if path else self._state.catalog.newest_first()

    def resource(self, request: Request, names: Names) -> Response:
        """Return one entry; the server keeps what it has found for five minutes."""
        problems = Problems()
        wanted = problems.body(request, models.CATALOG_ENTRY)
        problems.check()
        try:
            version = None if wanted.version in (None, "latest") else int(wanted.version)
        except ValueError as error:
            raise Unhandled(str(error)) from None
        if wanted.path is not None and not wanted.catalog_id and "\0" in wanted.path:
            raise Unhandled(NO_NULLS)
        entry = self._cached(wanted.catalog_id, wanted.path, version)
        if entry is None:
            raise Refused(404, "Catalog entry not found")
        return answer(shown(entry))

    def _cached(self, catalog_id: str | None, path: str | None, version: int | None) -> Entry | None:
        key = f"id:{catalog_id}" if catalog_id else f"path:{path}:v:{version or 'latest'}"
        now = self._state.clock.now()
        known = self._cache.get(key)
        if known is not None and now - known[0] < CACHE_SECONDS:
            self._cache.move_to_end(key)
            return known[1]
        if catalog_id:
            entry = self._state.catalog.by_id.get(bigint(catalog_id))
        else:
            entry = self._state.catalog.find(str(path), version)
        if entry is not None:
            self._cache.pop(key, None)
            self._cache[key] = (now, entry)
            if len(self._cache) > MAX_CACHED:
                self._cache.popitem(last=False)
        return entry

    def clear(self) -> None:
        """Forget what was kept."""
        self._cache.clear()

    # Forms and MCP servers

    def ui_schema(self, request: Request, path: str) -> Response:
        """Return the form of a workload."""
        version = request.query.get("version", "latest")
        entry = self._found(path, version)
        metadata = entry.metadata
        return answer({
            "path": entry.path, "version": entry.version, "kind": entry.kind, "title": metadata.get("name"),
            "description_markdown": metadata.get("description"),
            "exposed_in_ui": bool(metadata.get("exposed_in_ui", False)),
            "fields": fields_of(entry.content, entry.document.get("workload")),
            "generated_at": iso(self._state.clock.now(), "Z"),
        })  # fmt: skip

    def _found(self, path: str, version: Any) -> Entry:
        wanted = "latest" if version in (None, "", "latest") else version
        if "\0" in path:
            raise Refused(503, "catalog service unavailable")
        try:
            number = None if wanted == "latest" else int(wanted)
        except ValueError:
            raise Refused(503, "catalog service unavailable") from None
        entry = self._cached(None, path, number)
        if entry is None:
            raise Refused(404, f"resource not found: {path}@{wanted}")
        return entry

    def lifecycle(self, request: Request, path: str, verb: str) -> Response:
        """Dispatch a verb of the life of an MCP server."""
        problems = Problems()
        wanted = problems.body(request, models.LIFECYCLE, models.Lifecycle())
        problems.check()
        entry = self._mcp(path, wanted.version)
        spec = entry.document.get("spec")
        verbs = spec.get("lifecycle") if isinstance(spec, dict) else None
        agent = verbs.get(verb.strip().lower()) if isinstance(verbs, dict) else None
        found = self._state.catalog.find(str(agent)) if agent else None
        if found is None:
            raise Refused(422, f"Mcp resource '{path}' has no spec.lifecycle.{verb} agent")
        try:
            run = self._state.engine.start(found, {"mcp_path": path, **(wanted.workload_overrides or {})})
        except FullError as error:
            raise Refused(503, str(error)) from None
        return answer({
            "status": "started", "verb": verb, "mcp_path": path, "mcp_version": entry.version,
            "agent_path": found.path, "execution_id": str(run.run_id),
        })  # fmt: skip

    def discover(self, request: Request, path: str) -> Response:
        """Refresh the tools of an MCP server."""
        problems = Problems()
        wanted = problems.body(request, models.DISCOVER, models.Discover())
        problems.check()
        self._mcp(path, wanted.version)
        raise Refused(422, f"Mcp resource '{path}' has no spec.discovery strategy configured")

    def _mcp(self, path: str, version: Any) -> Entry:
        entry = self._found(path, version)
        if entry.kind != "mcp":
            raise Refused(400, f"resource '{path}' is kind='{entry.kind}', expected 'mcp'")
        return entry


def shown(entry: Entry) -> dict[str, Any]:
    """Return an entry as the server shows it."""
    metadata = entry.metadata
    capabilities = metadata.get("capabilities") or []
    terminal = metadata.get("terminal")
    terminal = terminal if isinstance(terminal, dict) else {}
    meta = {
        "registered_at": iso(entry.created),
        "agent": _truthy(metadata.get("agent", False)),
        "capabilities": [
            str(item).strip() for item in ([capabilities] if isinstance(capabilities, str) else capabilities)
        ],
        "terminal": terminal,
        "terminal_visible": _truthy(terminal.get("visible", False)),
        "terminal_scopes": _scopes(terminal.get("scopes", terminal.get("scope", []))),
    }
    return {
        "catalog_id": str(entry.catalog_id),
        "path": entry.path.strip(),
        "version": entry.version,
        "kind": entry.kind,
        "content": entry.content,
        "layout": None,
        "payload": entry.document,
        "meta": meta,
        "created_at": iso(entry.created, ""),
    }


def _truthy(value: Any) -> bool:
    return value.strip().lower() in ("1", "true", "yes", "on") if isinstance(value, str) else bool(value)


def _scopes(value: Any) -> list[str]:
    items = value.split(",") if isinstance(value, str) else value if isinstance(value, list) else []
    return [str(item).strip() for item in items if item is not None and str(item).strip()]


def _capabilities(wanted: models.CatalogList | models.Agents) -> set[str]:
    given = [*(wanted.capabilities or ()), wanted.capability or ""]
    return {str(item).strip() for item in given if str(item).strip()}


def _is_agent(entry: Entry, capabilities: set[str]) -> bool:
    meta = shown(entry)["meta"]
    return bool(meta["agent"]) and (not capabilities or bool(capabilities & set(meta["capabilities"])))


def _loaded(content: Any) -> Any:
    if isinstance(content, str) and len(content) > MAX_TEXT:
        raise ValueError(f"a playbook has at most {MAX_TEXT} characters")
    if not isinstance(content, str):
        raise AttributeError(f"'{type(content).__name__}' object has no attribute 'read'")
    return bounded(yaml.safe_load(content)) or {}


def _kind_and_path(document: Any, fallback: str) -> tuple[str, str]:
    """Return the kind and the path. Raises AttributeError for what is no mapping, as the server does."""
    declared = document.get("kind") if isinstance(document, dict) else None
    kind = _kind(declared if isinstance(declared, str) and declared.strip() else fallback)
    metadata = document.get("metadata") or {}
    path = metadata.get("path") or document.get("path") or metadata.get("name") or document.get("name") or "unknown"
    return kind, str(path)


def _kind(text: str) -> str:
    value = str(text or "playbook").strip()
    return _ALIASES.get(value, value).strip().lower() if value else "playbook"


def _with_end(document: dict[str, Any]) -> dict[str, Any]:
    """Return a playbook as it is stored: with a last step, if it has none named `end`."""
    workflow = document.get("workflow") or []
    if not workflow or any(str(step.get("step", "")).lower() == "end" for step in workflow):
        return document
    return {**document, "workflow": [*workflow, _IMPLICIT_END]}


def _has_python(document: dict[str, Any]) -> bool:
    tools = [step.get("tool") for step in document.get("workflow") or () if isinstance(step, dict)]
    return any(isinstance(tool, dict) and tool.get("kind") == "python" for tool in tools)


def _jsonable(value: Any) -> Any:
    """Return JSON data. Raises TypeError for a date, as the server does."""
    if isinstance(value, dict):
        return {str(key): _jsonable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_jsonable(item) for item in value]
    if isinstance(value, date | datetime | bytes | set):
        raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")
    return value
