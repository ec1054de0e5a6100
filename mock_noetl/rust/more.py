"""The other endpoints: variables, credentials, keychain, SQL, signing in, workers, dashboard, and events of workers."""

from __future__ import annotations

import asyncio
import base64
import os
from typing import Any

from mock_noetl.accounts import check_access, login_in_process, validate_in_process
from mock_noetl.errors import FullError
from mock_noetl.postgres import null_error, schema_error
from mock_noetl.routes import Names
from mock_noetl.rust import shapes
from mock_noetl.rust.web import (
    Query,
    Refused,
    answer,
    body,
    database,
    invalid,
    not_found,
    path_id,
    path_text,
    stored,
    stored_json,
)
from mock_noetl.state import Credential, State, Variable
from mock_noetl.values import iso
from mock_server.messages import Request, Response

VERSION = "3.54.0"
_VAR_TYPES = ("user_defined", "step_result", "computed", "iterator_state")
_WIDGETS = [
    {"id": "execution-trend", "type": "chart", "title": "Execution Trend (7 days)",
     "config": {"chart_type": "line", "time_range": "7d"}, "data": []},
    {"id": "recent-executions", "type": "table", "title": "Recent Executions",
     "config": {"columns": ["execution_id", "path", "status"]}, "data": []},
]  # fmt: skip
_POOL = {
    "pool_min": 0, "pool_max": 2, "pool_size": 2, "pool_available": 1, "requests_waiting": 0, "utilization": 0.5,
    "slots_available": 1, "status": "ok",
}  # fmt: skip
_NOT_NULL = 'null value in column "expires_at" of relation "keychain" violates not-null constraint'


class MoreEndpoints:
    """The endpoints of everything beside the catalog and executions."""

    def __init__(self, state: State) -> None:
        self._state = state

    def _uptime(self) -> int:
        return int(self._state.clock.now() - self._state.began)

    def health(self, request: Request, names: Names) -> Response:
        """Return that the server is well."""
        about = {"database": "connected", "nats": "not_configured", "uptime_seconds": self._uptime()}
        return answer({"status": "ok", **about, "version": VERSION})

    def plain_health(self, request: Request, names: Names) -> Response:
        """Return that the process is well."""
        return answer({"status": "ok"})

    # Variables

    def variables(self, request: Request, names: Names) -> Response:
        """Return the variables of an execution."""
        run_id = path_id("execution_id", names["execution_id"])
        return answer([_variable(item) for item in self._state.variables_of(run_id)])

    def set_variables(self, request: Request, names: Names) -> Response:
        """Set variables."""
        run_id = path_id("execution_id", names["execution_id"])
        wanted = body(request, shapes.SET_VARIABLES)["variables"]
        for item in wanted:
            if item["var_type"] not in _VAR_TYPES:
                raise invalid(f"Invalid var_type: {item['var_type']}")
            name, kind, value = item["var_name"], item["var_type"], item["var_value"]
            self._state.set_variable(run_id, name, kind, value, item["source_step"])
        return answer({"execution_id": run_id, "variables_set": len(wanted), "status": "ok"})

    def variable(self, request: Request, names: Names) -> Response:
        """Return a variable."""
        found = self._state.variables.get(_variable_key(names))
        if found is None:
            raise _no_variable(names)
        found.count += 1
        found.accessed = self._state.clock.now()
        return answer(_variable(found))

    def delete_variable(self, request: Request, names: Names) -> Response:
        """Delete a variable."""
        run_id, name = _variable_key(names)
        if self._state.variables.pop((run_id, name), None) is None:
            raise _no_variable(names)
        return answer({"execution_id": run_id, "var_name": name, "status": "deleted"})

    def delete_variables(self, request: Request, names: Names) -> Response:
        """Delete the variables of an execution."""
        run_id = path_id("execution_id", names["execution_id"])
        count = self._state.delete_variables(run_id)
        return answer({"execution_id": run_id, "variables_deleted": count, "status": "ok"})

    # Credentials and the keychain

    def credentials(self, request: Request, names: Names) -> Response:
        """Return the credentials, the newest first, without what is secret."""
        query = Query(request, ("type", "q"))
        kind, wanted = query.text("type"), query.text("q")
        stored(kind, wanted)
        items = [
            _credential(item)
            for item in reversed(self._by_creation())
            if kind in (None, item.kind)
            and (wanted is None or wanted.lower() in f"{item.name}\n{item.description or ''}".lower())
        ]
        given = {name: value for name, value in (("type", kind), ("q", wanted)) if value is not None}
        return answer({"items": items, **({"filter": given} if given else {})})

    def _by_creation(self) -> list[Credential]:
        return sorted(self._state.credentials.values(), key=lambda item: item.created)

    def save_credential(self, request: Request, names: Names) -> Response:
        """Save a credential."""
        wanted = body(request, shapes.SAVE_CREDENTIAL)
        stored(wanted["name"], wanted["type"], wanted["description"], *(wanted["tags"] or ()))
        stored_json(wanted["meta"])
        try:
            saved = self._state.save(
                wanted["name"], wanted["type"], wanted["data"], wanted["meta"], wanted["tags"], wanted["description"]
            )
        except FullError as error:
            raise Refused(503, str(error)) from None
        return answer(_credential(saved))

    def credential(self, request: Request, names: Names) -> Response:
        """Return a credential, with what is secret if that is wanted."""
        identifier = path_text("identifier", names["name"])
        query = Query(request, ("include_data", "execution_id", "parent_execution_id"))
        with_data = query.boolean("include_data")
        query.integer("execution_id")
        query.integer("parent_execution_id")
        found = self._found(identifier)
        return answer({**_credential(found), "data": found.data} if with_data else _credential(found))

    def delete_credential(self, request: Request, names: Names) -> Response:
        """Delete a credential."""
        found = self._found(path_text("identifier", names["name"]))
        del self._state.credentials[found.name]
        return answer({"message": "Credential deleted successfully", "id": str(found.credential_id)})

    def _found(self, identifier: str) -> Credential:
        stored(identifier)
        found = self._state.credential(identifier)
        if found is None:
            raise not_found(f"Credential '{identifier}' not found")
        return found

    def keychain(self, request: Request, names: Names) -> Response:
        """Return an entry of a keychain, which is never there."""
        path_id("catalog_id", names["catalog_id"], 0)
        Query(request, ("execution_id", "scope_type")).integer("execution_id")
        return answer({"status": "not_found"})

    def set_keychain(self, request: Request, names: Names) -> Response:
        """Refuse an entry of a keychain, as the server does without an end of its life; the sandbox has no keychain."""
        path_id("catalog_id", names["catalog_id"], 0)
        wanted = body(request, shapes.SET_KEYCHAIN)
        if wanted["expires_at"] is None and wanted["expires_in"] is None:
            raise database(_NOT_NULL)
        raise Refused(501, "mock_noetl keeps no keychain")

    def keychains(self, request: Request, names: Names) -> Response:
        """Return the entries of the keychain of a catalog entry, of which there are none."""
        return answer({"catalog_id": str(path_id("catalog_id", names["catalog_id"])), "entries": []})

    # SQL and signing in

    async def postgres(self, request: Request, names: Names) -> Response:
        """Run a query on a database of the sandbox's own."""
        wanted = body(request, shapes.POSTGRES)
        query = _query(wanted)
        if query is None:
            raise invalid("Either 'query' or 'procedure' must be provided")
        problem = schema_error(wanted["db_schema"]) or null_error(query)
        if problem is not None:
            raise database(problem)
        found = await asyncio.to_thread(self._state.database.execute, query.strip())
        if found.error is not None:
            raise database(found.error.text)
        if found.several:
            raise database("cannot insert multiple commands into a prepared statement")
        return answer({"status": "ok", "result": found.rows or []})

    def validate_session(self, request: Request, names: Names) -> Response:
        """Validate a session of the sandbox's accounts, which need no credential."""
        return answer(validate_in_process(self._state.accounts, body(request, shapes.VALIDATE_SESSION)))

    def login(self, request: Request, names: Names) -> Response:
        """Sign a user in."""
        wanted = body(request, shapes.LOGIN)
        if wanted["auth0_token"].count(".") != 2:
            data = {"error": "Invalid JWT format", "message": "Token validation failed"}
            return answer({"status": "error", "data": data})
        return answer(login_in_process(self._state.accounts, wanted))

    def check_access(self, request: Request, names: Names) -> Response:
        """Check what a user may do with a playbook."""
        wanted = body(request, shapes.CHECK_ACCESS)
        return answer({"status": "success", "data": check_access(self._state.accounts, wanted)})

    # Workers, the dashboard and the system

    def pools(self, request: Request, names: Names) -> Response:
        """Return the worker pools, of which there are none."""
        return answer([])

    def register_pool(self, request: Request, names: Names) -> Response:
        """Refuse a worker pool of an unknown kind; another one gets nothing to do."""
        wanted = body(request, shapes.WORKER_POOL)
        if wanted["kind"] not in ("worker_pool", "server_api", "broker"):
            raise invalid(f"Invalid runtime kind: {wanted['kind']}")
        stored(wanted["name"])
        now = iso(self._state.clock.now(), "Z")
        about = {name: wanted[name] for name in ("name", "kind", "uri", "status", "labels", "capabilities", "capacity")}
        times = {"heartbeat": now, "created_at": now, "updated_at": now}
        return answer({"runtime_id": self._state.ids.next(), **about, "runtime": wanted["runtime"], **times})

    def no_pool(self, request: Request, names: Names) -> Response:
        """Look for a worker pool, which is never there."""
        wanted = body(request, shapes.NAMED_POOL)
        raise not_found(f"Runtime not found: {wanted['kind']} {wanted['name']}")

    def dashboard(self, request: Request, names: Names) -> Response:
        """Return the counts of the dashboard, most of which the server does not find."""
        zeros = ("total_executions", "successful_executions", "failed_executions", "cancelled_executions",
                 "running_executions", "total_workers")  # fmt: skip
        entries = self._state.catalog.newest_first()
        stats = {**dict.fromkeys(zeros, 0), "total_playbooks": sum(entry.kind == "playbook" for entry in entries)}
        return answer({"status": "ok", "stats": stats})

    def widgets(self, request: Request, names: Names) -> Response:
        """Return the widgets of the dashboard."""
        return answer({"widgets": _WIDGETS})

    def pool_status(self, request: Request, names: Names) -> Response:
        """Return how the database pool is used."""
        return answer(_POOL)

    def system(self, request: Request, names: Names) -> Response:
        """Return the load of the machine and of the process."""
        sizes = ("memory_percent", "total_memory_mb", "used_memory_mb", "available_memory_mb")
        system = dict.fromkeys(("cpu_percent", *sizes), 0.0)
        process = dict.fromkeys(("cpu_percent", "memory_rss_mb", "memory_vms_mb"), 0.0)
        times = {"start_time": int(self._state.began), "uptime_seconds": self._uptime()}
        return answer({"system": system, "process": {"pid": os.getpid(), **process, "num_threads": 0, **times}})

    def threads(self, request: Request, names: Names) -> Response:
        """Return the thread that answers."""
        return answer([{"thread_id": 2, "name": "tokio-runtime-worker", "is_alive": True}])

    def profiler(self, request: Request, names: Names) -> Response:
        """Return that there is no profiler."""
        message = "Memory profiling is not currently available in the Rust server"
        return answer({"is_profiling": False, "profiler_type": None, "message": message})

    def start_profiler(self, request: Request, names: Names) -> Response:
        """Return what to use in place of a profiler."""
        message = (
            "Memory profiling in Rust requires external tools (Valgrind, Heaptrack). Consider using RUST_BACKTRACE=1 "
            "and cargo-flamegraph for profiling."
        )
        return answer({"status": "info", "message": message})

    def stop_profiler(self, request: Request, names: Names) -> Response:
        """Return that nothing is profiled."""
        return answer({"status": "info", "message": "Memory profiling is not currently active"})

    def init(self, request: Request, names: Names) -> Response:
        """Return that the schema is there."""
        message = "Schema 'noetl' already exists. Run noetlctl db init to reinitialize."
        return answer({"status": "ok", "message": message, "valid": True})

    def shard(self, request: Request, names: Names) -> Response:
        """Return the shard of an execution: there is one."""
        query = Query(request, ("execution_id", "shard_count"))
        query.needed("execution_id", "shard_count")
        run_id, count = query.integer("execution_id"), query.integer("shard_count")
        about = {"source": "noetl-server", "hash_function": "twox_hash::XxHash64", "seed": 0}
        config = {"shard_index": 0, "shard_count": 1}
        return answer(
            {"execution_id": run_id, "shard_count": count, "shard_index": 0, **about, "server_config": config}
        )

    # Events and commands of workers, of which the sandbox has none

    def event(self, request: Request, names: Names) -> Response:
        """Check an event of a worker."""
        wanted = body(request, shapes.EVENT)
        if not wanted["execution_id"].lstrip("-").isdigit():
            raise invalid("Invalid execution_id")
        raise Refused(501, "mock_noetl has no workers")

    def batch(self, request: Request, names: Names) -> Response:
        """Check a batch of events of a worker."""
        body(request, shapes.BATCH)
        raise Refused(501, "mock_noetl has no workers")

    def command(self, request: Request, names: Names) -> Response:
        """Return a command, which is never there."""
        raise not_found(f"command not found: {path_id('event_id', names['event_id'])}")

    def claim(self, request: Request, names: Names) -> Response:
        """Claim a command, which is never there."""
        number = path_id("event_id", names["event_id"])
        body(request, shapes.CLAIM)
        raise not_found(f"command not found: {number}")


def _query(wanted: dict[str, Any]) -> str | None:
    """Return the SQL of a request. Raises Refused."""
    encoded = wanted["query_base64"]
    if encoded is None:
        found: str | None = wanted["query"] if wanted["query"] is not None else wanted["procedure"]
        return found
    for place, character in enumerate(encoded):
        if not (character.isascii() and character.isalnum()) and character not in "+/=":
            raise invalid(f"Invalid base64: Invalid symbol {ord(character)}, offset {place}.")
    try:
        return base64.b64decode(encoded, validate=True).decode()
    except UnicodeDecodeError as error:
        if error.reason == "unexpected end of data":
            problem = f"incomplete utf-8 byte sequence from index {error.start}"
        else:
            problem = f"invalid utf-8 sequence of {error.end - error.start} bytes from index {error.start}"
        raise invalid(f"Invalid UTF-8 in query: {problem}") from None
    except ValueError:
        raise invalid("Invalid base64: Invalid padding") from None


def _variable_key(names: Names) -> tuple[int, str]:
    key = path_id("execution_id", names["execution_id"], 0), path_text("var_name", names["name"])
    stored(key[1])
    return key


def _no_variable(names: Names) -> Refused:
    run_id, name = _variable_key(names)
    return not_found(f"Variable not found: {name} for execution {run_id}")


def _variable(item: Variable) -> dict[str, Any]:
    return {
        "var_name": item.name, "var_type": item.kind, "var_value": item.value, "source_step": item.source_step,
        "created_at": iso(item.created, "Z"), "accessed_at": iso(item.accessed, "Z"), "access_count": item.count,
    }  # fmt: skip


def _credential(item: Credential) -> dict[str, Any]:
    more = {"meta": item.meta, "tags": item.tags, "description": item.description}
    return {
        "id": str(item.credential_id), "name": item.name, "type": item.kind,
        **{name: value for name, value in more.items() if value is not None},
        "created_at": iso(item.created, "Z"), "updated_at": iso(item.updated, "Z"),
    }  # fmt: skip
