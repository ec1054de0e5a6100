"""The other endpoints: variables, credentials, keychain, SQL, sessions, workers, dashboard, and events of workers."""

from __future__ import annotations

import asyncio
import os
import threading
from typing import Any

from mock_noetl.accounts import validate_in_process
from mock_noetl.errors import FullError
from mock_noetl.python import models
from mock_noetl.python.events import WORKERS
from mock_noetl.python.web import BOOL, OPTIONAL_INT, Problems, Refused, answer, stored
from mock_noetl.routes import Names
from mock_noetl.state import Credential, State, Variable
from mock_noetl.values import iso
from mock_server.messages import Request, Response

_VAR_TYPES = ("user_defined", "step_result", "computed", "iterator_state")
_WIDGETS = [
    {"id": "execution_stats", "type": "metric", "title": "Execution Statistics", "config": None, "data": None},
    {"id": "recent_executions", "type": "table", "title": "Recent Executions", "config": {"limit": 10}, "data": None},
    {"id": "execution_trend", "type": "chart", "title": "Execution Trend",
     "config": {"timeRange": "24h", "chartType": "line"}, "data": None},
    {"id": "success_rate", "type": "metric", "title": "Success Rate", "config": None, "data": None},
    {"id": "active_playbooks", "type": "list", "title": "Active Playbooks", "config": {"limit": 5}, "data": None},
]  # fmt: skip
_POOL = {
    "pool_min": 2, "pool_max": 16, "pool_size": 2, "pool_available": 2, "requests_waiting": 0, "utilization": 0.0,
    "slots_available": 16, "status": "ok",
}  # fmt: skip


class MoreEndpoints:
    """The endpoints of everything beside the catalog and executions."""

    def __init__(self, state: State) -> None:
        self._state = state

    # Variables

    def variables(self, request: Request, names: Names) -> Response:
        """Return the variables of an execution."""
        run_id = _path_id(names)
        found = {item.name: _variable(item) for item in self._state.variables_of(run_id)}
        return answer({"execution_id": run_id, "variables": found, "count": len(found)})

    def variable(self, request: Request, names: Names) -> Response:
        """Return a variable."""
        run_id = _path_id(names)
        found = self._state.variables.get((run_id, names["name"]))
        if found is None:
            raise Refused(404, f"Variable '{names['name']}' not found for execution {run_id}")
        found.count += 1
        found.accessed = self._state.clock.now()
        return answer({"execution_id": run_id, "var_name": found.name, **_variable(found)})

    def set_variables(self, request: Request, names: Names) -> Response:
        """Set variables."""
        problems = Problems()
        run_id = problems.path(names, "execution_id")
        wanted = problems.body(request, models.SET_VARIABLES)
        problems.check()
        if not wanted.variables:
            raise Refused(400, "Request body must contain 'variables' dict with at least one variable")
        if wanted.var_type not in _VAR_TYPES:
            raise Refused(400, f"Invalid var_type '{wanted.var_type}'. Must be one of: {', '.join(_VAR_TYPES)}")
        stored("Failed to set variables: ", *wanted.variables)
        for name, value in wanted.variables.items():
            self._state.set_variable(run_id, name, wanted.var_type, value, wanted.source_step)
        found = list(wanted.variables)
        return answer({"execution_id": run_id, "variables_set": len(found), "var_names": found})

    def delete_variable(self, request: Request, names: Names) -> Response:
        """Delete a variable."""
        run_id = _path_id(names)
        deleted = self._state.variables.pop((run_id, names["name"]), None) is not None
        return answer({"execution_id": run_id, "var_name": names["name"], "deleted": deleted})

    def delete_variables(self, request: Request, names: Names) -> Response:
        """Delete the variables of an execution."""
        run_id = _path_id(names)
        return answer({"execution_id": run_id, "deleted_count": self._state.delete_variables(run_id)})

    # Credentials and the keychain

    def credentials(self, request: Request, names: Names) -> Response:
        """Return the credentials, without what is secret."""
        kind, text = request.query.get("type"), request.query.get("q")
        stored("", kind, text)
        items = [
            _credential(item, self._state)
            for item in sorted(self._state.credentials.values(), key=lambda item: item.name)
            if (not kind or item.kind == kind)
            and (not text or text.lower() in item.name.lower() or text.lower() in (item.description or "").lower())
        ]
        return answer({"items": items, "filter": {"type": kind, "q": text}})

    def save_credential(self, request: Request, names: Names) -> Response:
        """Save a credential."""
        problems = Problems()
        wanted = problems.body(request, models.SAVE_CREDENTIAL)
        problems.check()
        stored("Database error: ", wanted.name, wanted.type, wanted.description, *(wanted.tags or ()))
        try:
            saved = self._state.save(
                wanted.name, wanted.type, wanted.data, wanted.meta, wanted.tags, wanted.description
            )
        except FullError as error:
            raise Refused(500, f"Database error: {error}") from None
        return answer(_credential(saved, self._state))

    def credential(self, request: Request, names: Names) -> Response:
        """Return a credential, with what is secret if that is wanted."""
        problems = Problems()
        with_data = problems.query(request, "include_data", BOOL, default=False)
        for name in ("catalog_id", "execution_id", "parent_execution_id"):
            problems.query(request, name, OPTIONAL_INT, None)
        problems.check()
        stored("", names["name"])
        found = self._state.credential(names["name"])
        if found is None:
            raise Refused(404, "Credential not found")
        return answer({**_credential(found, self._state), "data": found.data if with_data else None})

    def delete_credential(self, request: Request, names: Names) -> Response:
        """Delete a credential."""
        stored("", names["name"])
        found = self._state.credential(names["name"])
        if found is None:
            raise Refused(404, "Credential not found")
        del self._state.credentials[found.name]
        message = "Credential deleted successfully"
        return answer({"message": message, "id": str(found.credential_id), "name": found.name})

    def keychain(self, request: Request, names: Names) -> Response:
        """Return an entry of a keychain, which is never there."""
        problems = Problems()
        catalog_id = problems.path(names, "catalog_id")
        problems.check()
        empty = (
            "token_data", "credential_type", "cache_type", "scope_type", "expires_at", "ttl_seconds", "accessed_at",
            "access_count", "renew_config",
        )  # fmt: skip
        key = f"{names['name']}:{catalog_id}:global"
        about = {"status": "not_found", "keychain_name": names["name"], "catalog_id": catalog_id, "cache_key": key}
        return answer({**about, **dict.fromkeys(empty), "auto_renew": False, "expired": False})

    def set_keychain(self, request: Request, names: Names) -> Response:
        """Refuse to keep an entry of a keychain: the sandbox has none."""
        problems = Problems()
        problems.path(names, "catalog_id")
        problems.body(request, models.SET_KEYCHAIN)
        problems.check()
        raise Refused(501, "mock_noetl keeps no keychain")

    def delete_keychain(self, request: Request, names: Names) -> Response:
        """Delete an entry of a keychain."""
        problems = Problems()
        catalog_id = problems.path(names, "catalog_id")
        problems.check()
        message = "Keychain entry deleted successfully"
        about = {"keychain_name": names["name"], "catalog_id": catalog_id}
        return answer({"status": "success", "message": message, **about})

    # SQL and sessions

    async def postgres(self, request: Request, names: Names) -> Response:
        """Run a query on a database of the sandbox's own."""
        problems = Problems()
        wanted = problems.body(request, models.POSTGRES)
        problems.check()
        if not wanted.query and not wanted.procedure:
            raise Refused(400, "query or procedure is required")
        if wanted.credential and self._state.credential(wanted.credential) is None:
            raise Refused(404, "Credential not found")
        found = await asyncio.to_thread(self._state.database.execute, _until_null(wanted))
        if found.error is not None:
            return answer({"status": "error", "result": None, "error": found.error.explained()})
        return answer({"status": "ok", "result": found.rows, "error": None})

    def validate_session(self, request: Request, names: Names) -> Response:
        """Validate a session of the sandbox's accounts, which need no credential."""
        problems = Problems()
        wanted = problems.body(request, models.VALIDATE_SESSION)
        problems.check()
        found = validate_in_process(self._state.accounts, {"session_token": wanted.session_token})
        if not found["valid"] and self._state.credential(wanted.credential or "pg_auth") is None:
            raise Refused(404, "Credential not found")
        return answer({"user": None, "expires_at": None, "error": None, **found})

    # Workers, the dashboard and the system

    def pools(self, request: Request, names: Names) -> Response:
        """Return the worker pools."""
        runtime, status = request.query.get("runtime"), request.query.get("status")
        fits = runtime in (None, "", "python") and status in (None, "", "ready")
        items = [self._pool(name) for name in WORKERS] if fits else []
        return answer({"items": items, "count": len(items), "runtime": runtime, "status": status, "error": None})

    def _pool(self, name: str) -> dict[str, Any]:
        began, now = iso(self._state.began), iso(self._state.clock.now())
        runtime = {
            "type": "python", "pid": os.getpid(), "hostname": "sandbox", "started_at": began,
            "nats_url": "nats://noetl:noetl@127.0.0.1:4222",
        }  # fmt: skip
        return {
            "name": name, "runtime": runtime, "status": "ready", "capacity": 1,
            "labels": {"nats_consumer": "noetl_worker_pool"}, "heartbeat": now, "created_at": began, "updated_at": now,
        }  # fmt: skip

    def register_pool(self, request: Request, names: Names) -> Response:
        """Take note of a worker pool, which gets nothing to do."""
        problems = Problems()
        wanted = problems.body(request, models.WORKER_POOL)
        problems.check()
        stored("Database error: ", wanted.name)
        about = {"name": wanted.name, "runtime_id": str(self._state.ids.next()), "kind": "worker_pool"}
        return answer({"status": "ok", **about, "runtime": wanted.runtime})

    def dashboard(self, request: Request, names: Names) -> Response:
        """Return the counts of the dashboard, most of which the server does not find."""
        count = len(self._state.engine.executions.runs)
        stats = {
            "total_executions": count, "successful_executions": 0, "failed_executions": 0,
            "total_playbooks": 0, "active_workflows": count,
        }  # fmt: skip
        return answer({"status": "ok", "stats": stats, **stats})

    def widgets(self, request: Request, names: Names) -> Response:
        """Return the widgets of the dashboard."""
        return answer({"widgets": _WIDGETS})

    def pool_status(self, request: Request, names: Names) -> Response:
        """Return how the database pool is used."""
        return answer(_POOL)

    def system(self, request: Request, names: Names) -> Response:
        """Return the load of the machine and of the process."""
        used = os.times()
        system = {"cpu_percent": 0.0, "memory_percent": 0.0, "net_io_sent_mb": 0.0, "net_io_recv_mb": 0.0}
        zeros = ("cpu_percent", "memory_rss_mb", "memory_vms_mb", "memory_shared_mb", "io_read_mb", "io_write_mb")
        process = {
            "pid": os.getpid(), "user_cpu_time": used.user, "system_cpu_time": used.system,
            "num_threads": threading.active_count(), **dict.fromkeys(zeros, 0.0),
        }  # fmt: skip
        return answer({"system": system, "process": process})

    # Events and commands of workers, of which the sandbox has none

    def event(self, request: Request, names: Names) -> Response:
        """Check an event of a worker."""
        problems = Problems()
        problems.body(request, models.EVENT)
        problems.check()
        raise Refused(501, "mock_noetl has no workers")

    def batch(self, request: Request, names: Names) -> Response:
        """Check a batch of events of a worker."""
        problems = Problems()
        problems.body(request, models.BATCH)
        problems.check()
        raise Refused(501, "mock_noetl has no workers")

    def command(self, request: Request, names: Names) -> Response:
        """Return a command, which is never there."""
        problems = Problems()
        found = problems.path(names, "event_id")
        problems.check()
        raise Refused(404, f"command not found: {found}")

    def claim(self, request: Request, names: Names) -> Response:
        """Claim a command, which is never there."""
        problems = Problems()
        found = problems.path(names, "event_id")
        problems.body(request, models.CLAIM)
        problems.check()
        raise Refused(404, f"command not found: {found}")


def _path_id(names: Names) -> int:
    problems = Problems()
    found: int = problems.path(names, "execution_id")
    problems.check()
    return found


def _variable(item: Variable) -> dict[str, Any]:
    return {
        "value": item.value, "type": item.kind, "source_step": item.source_step,
        "created_at": iso(item.created, "Z"), "accessed_at": iso(item.accessed, "Z"), "access_count": item.count,
    }  # fmt: skip


def _credential(item: Credential, state: State) -> dict[str, Any]:
    return {
        "id": str(item.credential_id), "name": item.name, "type": item.kind, "meta": item.meta, "tags": item.tags,
        "description": item.description, "created_at": iso(item.created), "updated_at": iso(item.updated), "data": None,
    }  # fmt: skip


def _until_null(wanted: models.Postgres) -> str:
    """Return the SQL of a request, which ends for the driver at a null character."""
    return str(wanted.query or wanted.procedure).partition("\0")[0]
