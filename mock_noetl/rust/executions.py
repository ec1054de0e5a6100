"""Executions: start, batches, list, status, detail, cancel and finalize."""

from __future__ import annotations

from collections import OrderedDict
from itertools import islice
from typing import Any

from mock_noetl.catalog import Entry
from mock_noetl.errors import FullError
from mock_noetl.routes import Names
from mock_noetl.runs import FINALIZED, Kept, Run
from mock_noetl.rust import shapes
from mock_noetl.rust.documents import check_playbook
from mock_noetl.rust.events import MAX_EVENTS, Recorded, detail_status, ended_at, listed_status, recorded, shown
from mock_noetl.rust.web import (
    I32,
    Query,
    Refused,
    answer,
    body,
    database,
    invalid,
    not_found,
    path_id,
    stored,
    stored_json,
)
from mock_noetl.state import State
from mock_noetl.values import iso
from mock_server.messages import Request, Response

MAX_BATCH = 1_000
MAX_LIMIT = 100
MAX_CANDIDATES = 2_000
MAX_SCANNED = 20_000
MAX_KEYS = 100_000
_ENDED = ("COMPLETED", "FAILED", "CANCELLED")


class Executions:
    """The endpoints of executions."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._engine = state.engine
        self._known = state.engine.executions
        self._kept = Kept()
        self._keys: OrderedDict[tuple[int, str], tuple[float, int]] = OrderedDict()
        self._checked: set[int] = set()

    def clear(self) -> None:
        """Forget the keys of deduplication."""
        self._keys.clear()
        self._checked.clear()

    # Starts

    def execute(self, request: Request, names: Names) -> Response:
        """Start an execution."""
        return answer(self._start(body(request, shapes.EXECUTE)))

    def batch(self, request: Request, names: Names) -> Response:
        """Start several executions; one that can't be started leaves the others alone."""
        wanted = body(request, shapes.BATCH_EXECUTE)["executions"]
        if not wanted:
            raise invalid("execute batch requires a non-empty 'executions' array")
        if len(wanted) > MAX_BATCH:
            raise invalid(f"execute batch size {len(wanted)} exceeds the {MAX_BATCH} cap")
        results = [self._of_batch(index, item) for index, item in enumerate(wanted)]
        statuses = [result["status"] for result in results]
        counts = {"duplicates": statuses.count("duplicate"), "failed": statuses.count("error")}
        return answer({"count": len(wanted), "started": statuses.count("started"), **counts, "results": results})

    def _of_batch(self, index: int, wanted: dict[str, Any]) -> dict[str, Any]:
        try:
            return {"index": index, **self._start(wanted)}
        except Refused as error:
            return {"index": index, "status": "error", "commands_generated": 0, "error": str(error)}

    def _start(self, wanted: dict[str, Any]) -> dict[str, Any]:
        if wanted["path"] is None and wanted["catalog_id"] is None:
            raise invalid("Either 'path' or 'catalog_id' must be provided")
        key = None
        if wanted["dedup"] is not None:
            key = (wanted["parent_execution_id"] or 0, wanted["dedup"]["key"])
            known = self._keys.get(key)
            if known is not None and self._state.clock.now() - known[0] < wanted["dedup"]["window_secs"]:
                return {"execution_id": str(known[1]), "status": "duplicate", "commands_generated": 0}
        entry = self._entry(wanted)
        if entry.catalog_id not in self._checked:
            check_playbook(entry.document)
            self._checked.add(entry.catalog_id)
        if wanted["payload"]:
            stored_json(wanted["payload"])
        try:
            run = self._engine.start(entry, wanted["payload"], wanted["parent_execution_id"])
        except FullError as error:
            raise Refused(503, str(error)) from None
        if key is not None:
            self._keys[key] = (self._state.clock.now(), run.run_id)
            if len(self._keys) > MAX_KEYS:
                self._keys.popitem(last=False)
        return {"execution_id": str(run.run_id), "status": "started", "commands_generated": 1}

    def _entry(self, wanted: dict[str, Any]) -> Entry:
        catalog_id, path = wanted["catalog_id"], wanted["path"]
        if catalog_id is not None:
            entry = self._state.catalog.by_id.get(catalog_id)
            if entry is None:
                raise not_found(f"Catalog entry not found: {catalog_id}")
            return entry
        stored(path)
        entry = self._state.catalog.find(path)
        if entry is None:
            raise not_found(f"Playbook not found: {path}")
        return entry

    # One execution

    def _run(self, names: Names) -> Run:
        run_id = path_id("execution_id", names["execution_id"])
        run = self._known.find(run_id)
        if run is None:
            raise not_found(f"Execution not found: {run_id}")
        return run

    def status(self, request: Request, names: Names) -> Response:
        """Return the status, with counts of steps."""
        run = self._run(names)
        known = self._kept.get(run)
        if known is None:
            known = answer(self._status(run, recorded(run)))
            self._kept.put(run, known)
        return known

    def _status(self, run: Run, found: Recorded) -> dict[str, Any]:
        total = found.count("step.enter", statuses=("ENTERED",))
        completed = found.count("step.exit", "command.completed", statuses=("COMPLETED", "completed", "success"))
        running = found.count("command.claimed", "command.started", statuses=("RUNNING", "STARTED"))
        failed = found.count(statuses=("FAILED",))
        entered = [e["node_name"] for e in found.events if e["event_type"] in ("step.enter", "command.started")]
        ends = [
            event["status"]
            for event in found.events
            if event["event_type"] in ("playbook.completed", "playbook_completed", "playbook.failed", "playbook_failed")
        ]
        if ends:
            status = ends[-1]
        elif run.cancelled:
            status = "CANCELLED"
        elif failed:
            status = "FAILED"
        else:  # the counts never make it completed: rows of commands do not reach their end
            status = "RUNNING"
        counts = {"total_steps": total, "completed_steps": completed, "running_steps": running, "failed_steps": failed}
        return {
            "execution_id": run.run_id, "status": status, "current_step": entered[-1] if entered else None,
            "progress": counts, "is_cancelled": run.cancelled,
        }  # fmt: skip

    def detail(self, request: Request, names: Names) -> Response:
        """Return an execution, with its last events."""
        run = self._run(names)
        found = recorded(run)
        ended = ended_at(found)
        return answer({
            "execution_id": run.run_id, "catalog_id": run.entry.catalog_id, "path": run.entry.path,
            "status": detail_status(found), "started_at": iso(run.started, "Z"),
            "completed_at": iso(ended, "Z") if ended is not None else None, "parent_execution_id": run.parent,
            "workload": run.given, "events": [shown(event) for event in found.events[-MAX_EVENTS:]],
        })  # fmt: skip

    def cancellation_check(self, request: Request, names: Names) -> Response:
        """Return whether an execution is cancelled; one that is not there is not."""
        run_id = path_id("execution_id", names["execution_id"])
        run = self._known.find(run_id)
        return answer({"execution_id": run_id, "is_cancelled": run is not None and run.cancelled})

    # All of them

    def listed(self, request: Request, names: Names) -> Response:
        """Return executions, newest first. The path is compared after the limit was applied."""
        query = Query(request, ("catalog_id", "path", "status", "limit", "offset"))
        catalog_id, limit = query.integer("catalog_id"), query.integer("limit", I32)
        offset, status, path = query.integer("offset", I32), query.text("status"), query.text("path")
        stored(status)
        limit, offset = min(MAX_LIMIT, 50 if limit is None else limit), offset or 0
        wanted = limit + offset
        if wanted < 0:
            raise database("LIMIT must not be negative")
        candidates = wanted if status is None else min(MAX_CANDIDATES, 10 * wanted)
        scanned = islice(self._known.newest_first(), MAX_SCANNED if catalog_id is not None else candidates)
        runs = list(islice((run for run in scanned if catalog_id in (None, run.entry.catalog_id)), candidates))
        if status is not None:
            runs = [run for run in runs if listed_status(recorded(self._known.seen(run))) == status][:wanted]
        if path is not None:
            runs = [run for run in runs if path.lower() in run.entry.path.lower()]
        shown = runs[max(0, offset) :][: max(0, limit)]
        return answer([self._summary(self._known.seen(run)) for run in shown])

    def _summary(self, run: Run) -> dict[str, Any]:
        found = recorded(run)
        times = [event["created_at"] for event in found.events if event["status"] in _ENDED]
        return {
            "execution_id": run.run_id, "catalog_id": run.entry.catalog_id, "path": run.entry.path,
            "status": listed_status(found), "started_at": iso(run.started, "Z"),
            "completed_at": iso(max(times), "Z") if times else None, "event_count": len(found.events),
        }  # fmt: skip

    # Ends

    def cancel(self, request: Request, names: Names) -> Response:
        """Cancel an execution that has not ended."""
        run = self._run(names)
        status = self._status(run, recorded(run))["status"]
        if status in _ENDED:
            raise invalid(f"Cannot cancel execution in {status} state")
        self._engine.cancel(run, None)
        message = "Execution cancellation requested"
        return answer({"execution_id": run.run_id, "status": "cancelled", "message": message})

    def finalize(self, request: Request, names: Names) -> Response:
        """End an execution by force."""
        run_id = path_id("execution_id", names["execution_id"])
        wanted = body(request, shapes.FINALIZE)
        status = wanted["status"]
        if status not in ("COMPLETED", "FAILED"):
            raise invalid(f"Invalid finalization status: {status}")
        run = self._known.find(run_id)
        if run is None:
            raise not_found(f"Execution not found: {run_id}")
        if run.last.code != FINALIZED:
            self._engine.finalize(run, status, wanted["error"])
        return answer(
            {"execution_id": run_id, "status": status, "message": f"Execution finalized with status: {status}"}
        )
