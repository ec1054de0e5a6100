"""The API of a NoETL server, on the engine and the catalog: from parsed requests to JSON data."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mock_noetl import inputs
from mock_noetl.accounts import check_access, login_in_process, validate_in_process
from mock_noetl.catalog import Catalog, Entry
from mock_noetl.dialects import Dialect, registered, started
from mock_noetl.engine import Engine, Execution, Status
from mock_noetl.errors import ApiError
from mock_noetl.postgres import Database
from mock_noetl.values import IdSource, now, rfc3339

MAX_CREDENTIALS = 1_000
MAX_PAGE = 1_000_000
MAX_ID = 2**63 - 1
MAX_OFFSET = 5_000
MAX_LIMIT = 100


@dataclass(frozen=True, slots=True)
class Call:
    """A parsed request. `name` is the variable part of the path, if there is one."""

    query: Mapping[str, str]
    body: bytes
    name: str = ""


class Api:
    """The state and the endpoints of one sandbox server. Every method accepts a Call and returns JSON data."""

    def __init__(self, dialect: Dialect, catalog: Catalog, engine: Engine, ids: IdSource) -> None:
        self.dialect = dialect
        self._catalog = catalog
        self._engine = engine
        self._ids = ids
        self._database = Database()
        self._credentials: dict[str, dict[str, Any]] = {}
        self._since = time.monotonic()

    async def close(self) -> None:
        await self._engine.close()
        self._database.close()

    async def health(self, call: Call) -> Any:
        return self.dialect.health(time.monotonic() - self._since)

    async def execute(self, call: Call) -> Any:
        fields = inputs.body_fields(call.body)
        workload = inputs.mapping(fields, "workload")
        if workload is None:
            workload = inputs.mapping(fields, "payload") or {}
        parent = inputs.integer(fields, "parent_execution_id")
        return started(self._engine.start(self._wanted(fields), workload, parent))

    async def executions(self, call: Call) -> Any:
        newest = self._engine.newest_first()
        if self.dialect.name == "python":
            size = min(200, inputs.query_integer(call.query, "page_size", 100, 1, 500))
            skip = (inputs.query_integer(call.query, "page", 1, 1, MAX_PAGE) - 1) * size
            if skip > MAX_OFFSET:
                raise ApiError(422, f"Requested page is too deep. Max supported offset is {MAX_OFFSET}.")
        else:
            newest = [item for item in newest if self._matches(item, call.query)]
            size = min(MAX_LIMIT, inputs.query_integer(call.query, "limit", 50, 0, MAX_PAGE))
            skip = inputs.query_integer(call.query, "offset", 0, 0, MAX_PAGE)
        page = list(newest)[skip : skip + size]
        if self.dialect.name == "rust":  # it filters by path only what the limit has left
            page = [item for item in page if call.query.get("path", item.entry.path) == item.entry.path]
        return [self.dialect.listed(item) for item in page]

    async def status(self, call: Call) -> Any:
        return self.dialect.status(self._execution(call.name, bare=True))

    async def detail(self, call: Call) -> Any:
        execution = self._execution(call.name, bare=True)
        body = self.dialect.detail(execution)
        if self.dialect.name == "rust":
            return {**body, "events": self.dialect.events(execution)}
        if not inputs.query_boolean(call.query, "include_events", True):
            return body
        return {**body, **self._page(execution, call.query)}

    async def events(self, call: Call) -> Any:
        if self.dialect.name == "rust":
            raise ApiError(404, "Not Found")
        execution = self._execution(call.name)
        head = {"execution_id": str(execution.execution_id), "path": execution.entry.path}
        return {**head, "status": execution.status.value, **self._page(execution, call.query)}

    async def cancel(self, call: Call) -> Any:
        fields = inputs.body_fields(call.body, optional=True) if self.dialect.name == "python" else {}
        reason, cascade = inputs.text(fields, "reason"), inputs.boolean(fields, "cascade")
        execution = self._execution(call.name)
        ended = execution.status is not Status.RUNNING
        already = ended if self.dialect.name == "rust" else execution.status is Status.CANCELLED
        if already:
            return self.dialect.cancelled(execution, [], already)
        family = self._engine.with_children(execution) if cascade else [execution]
        cancelled = [item for item in family if self._engine.cancel(item, reason)]
        return self.dialect.cancelled(execution, cancelled, already)

    async def cleanup(self, call: Call) -> Any:
        fields = inputs.body_fields(call.body, optional=True)
        minutes = inputs.integer(fields, "older_than_minutes")
        limit = 60 * (5 if minutes is None else minutes)
        running = [e for e in self._engine.newest_first() if e.status is Status.RUNNING and e.seconds >= limit]
        dry = inputs.boolean(fields, "dry_run")
        ended = [e for e in running if dry or self._engine.cancel(e, "Cleaned up")]
        return {
            "cancelled_count": 0 if dry else len(ended),
            "execution_ids": [self.dialect.identifier(item.execution_id) for item in ended],
            "message": f"{'Would cancel' if dry else 'Cancelled'} {len(ended)} stuck execution(s)",
        }

    async def catalog_list(self, call: Call) -> Any:
        """Return all versions, newest first. The Rust server compares kinds exactly, and ignores a path."""
        fields = inputs.body_fields(call.body, optional=True)
        kind, path = inputs.text(fields, "resource_type"), inputs.text(fields, "path")
        if self.dialect.name == "python":
            kind = kind.lower() if kind else None
        else:
            path = None
        return {"entries": [self.dialect.entry(entry) for entry in self._catalog.versions(kind, path)]}

    async def agents_list(self, call: Call) -> Any:
        if self.dialect.name == "rust":
            raise ApiError(405, "Method Not Allowed")
        return {"entries": [self.dialect.entry(entry) for entry in self._catalog.versions("agent", None)]}

    async def catalog_register(self, call: Call) -> Any:
        fields = inputs.body_fields(call.body)
        return registered(self._catalog.register(inputs.required_text(fields, "content")))

    async def catalog_resource(self, call: Call) -> Any:
        fields = inputs.body_fields(call.body)
        catalog_id = fields.get("catalog_id")
        if catalog_id is not None:
            if self.dialect.name == "rust":
                catalog_id = inputs.required_text(fields, "catalog_id")
            entry = self._catalog.get(int(catalog_id)) if inputs.is_id(str(catalog_id)) else None
        else:
            entry = self._catalog.find(inputs.required_text(fields, "path"), _version(fields))
        if entry is None:
            raise ApiError(404, "Catalog entry not found")
        return self.dialect.entry(entry)

    async def postgres(self, call: Call) -> Any:
        query = inputs.required_text(inputs.body_fields(call.body), "query")
        return await asyncio.to_thread(self._database.execute, query)

    async def dashboard(self, call: Call) -> Any:
        statuses = [item.status for item in self._engine.newest_first()]
        stats = {
            "total_executions": len(statuses),
            "successful_executions": statuses.count(Status.COMPLETED),
            "failed_executions": statuses.count(Status.FAILED),
            "total_playbooks": len(self._catalog.latest("playbook")),
            "active_workflows": statuses.count(Status.RUNNING),
        }
        return {"status": "ok", "stats": stats}

    async def credentials(self, call: Call) -> Any:
        items = [_without_data(item) for item in self._credentials.values()]
        return {"items": items, "filter": {"type": None, "q": None}}

    async def credential_save(self, call: Call) -> Any:
        fields = inputs.body_fields(call.body)
        name, kind = inputs.required_text(fields, "name"), inputs.required_text(fields, "type")
        known = self._credentials.get(name)
        if known is None and len(self._credentials) >= MAX_CREDENTIALS:
            raise ApiError(503, "Too many credentials")
        saved = {
            "id": known["id"] if known else self.dialect.identifier(self._ids.next()),
            "name": name,
            "type": kind,
            "meta": inputs.mapping(fields, "meta"),
            "tags": fields.get("tags") or [],
            "description": inputs.text(fields, "description"),
            "data": inputs.mapping(fields, "data") or {},
            "created_at": known["created_at"] if known else rfc3339(now()),
            "updated_at": rfc3339(now()),
        }
        self._credentials[name] = saved
        return _without_data(saved)

    async def credential(self, call: Call) -> Any:
        saved = self._credentials.get(call.name)
        if saved is None:
            raise ApiError(404, "Credential not found")
        return saved if inputs.query_boolean(call.query, "include_data", False) else _without_data(saved)

    async def login(self, call: Call) -> Any:
        """Sign a user in: an endpoint of the Rust server only, as are the next two."""
        return login_in_process(self._engine.accounts, self._auth_fields(call, "auth0_token"))

    async def validate_session(self, call: Call) -> Any:
        return validate_in_process(self._engine.accounts, self._auth_fields(call, "session_token"))

    async def check_access(self, call: Call) -> Any:
        fields = self._auth_fields(call, "playbook_path")
        return {"status": "success", "data": check_access(self._engine.accounts, fields)}

    def _auth_fields(self, call: Call, needed: str) -> inputs.Fields:
        if self.dialect.name != "rust":
            raise ApiError(404, "Not Found")
        fields = inputs.body_fields(call.body)
        inputs.required_text(fields, needed)
        return fields

    def _matches(self, execution: Execution, query: Mapping[str, str]) -> bool:
        values = {
            "catalog_id": str(execution.entry.catalog_id),
            "status": self.dialect.listed(execution)["status"],
        }
        return all(query.get(name, value) == value for name, value in values.items())

    def _wanted(self, fields: inputs.Fields) -> Entry:
        path = inputs.text(fields, "path")
        catalog_id = inputs.integer(fields, "catalog_id", texts=self.dialect.name == "python")
        version = _version(fields) if self.dialect.name == "python" else None
        if catalog_id is not None:
            entry = self._catalog.get(catalog_id)
        elif path:
            entry = self._catalog.find(path, version)
        else:
            raise inputs.invalid("value_error", ("body",), "Either path or catalog_id must be provided")
        if entry is None:
            raise ApiError(404, self.dialect.playbook_missing(path or str(catalog_id)))
        return entry

    def _execution(self, execution_id: str, bare: bool = False) -> Execution:
        execution = self._engine.get(int(execution_id)) if inputs.is_id(execution_id) else None
        if execution is None:
            raise ApiError(404, self.dialect.execution_missing(execution_id[:100], bare))
        return execution

    def _page(self, execution: Execution, query: Mapping[str, str]) -> dict[str, Any]:
        page = inputs.query_integer(query, "page", 1, 1, MAX_PAGE)
        size = inputs.query_integer(query, "page_size", 100, 10, 500)
        events = self.dialect.events(execution)
        since = inputs.query_integer(query, "since_event_id", 0, 0, 2**63 - 1)
        events = [event for event in events if event["event_id"] > since]
        if "event_type" in query:
            events = [event for event in events if event["event_type"] == query["event_type"]]
        since = inputs.query_integer(query, "since_event_id", 0, 0, MAX_ID)
        events = [event for event in events if event["event_id"] > since]
        total = len(events)
        pages = max(1, -(-total // size))
        return {
            "events": events[(page - 1) * size : page * size],
            "pagination": {
                "page": page,
                "page_size": size,
                "total_events": total,
                "total_pages": pages,
                "has_next": page < pages,
                "has_prev": page > 1,
            },
        }


def _version(fields: inputs.Fields) -> int | None:
    """Return the requested version; None for `latest`, which clients send if they need no particular version."""
    return None if fields.get("version") == "latest" else inputs.integer(fields, "version")


def _without_data(credential: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in credential.items() if name != "data"}
