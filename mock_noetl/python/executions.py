"""Executions: start, list, status, detail, events, cancel, finalize and cleanup."""

from __future__ import annotations

import asyncio
from itertools import islice
from time import perf_counter
from typing import Any

from mock_noetl.catalog import Entry
from mock_noetl.deferred import PAUSE_SECONDS
from mock_noetl.errors import FullError
from mock_noetl.python import models
from mock_noetl.python.event_pages import EventPage, plain, typed
from mock_noetl.python.events import events_of
from mock_noetl.python.web import (
    BOOL,
    INT,
    NO_NULLS,
    Problems,
    Refused,
    Unhandled,
    answer,
    stored,
)
from mock_noetl.routes import Names
from mock_noetl.runs import CANCELLED, DONE, OK, PROCESSED, RUNNING, Kept, Moment, Outcome, Run, known_value
from mock_noetl.state import State
from mock_noetl.values import iso
from mock_server.messages import Request, Response

MAX_SIZE = 200
MAX_OFFSET = 5_000
MAX_BIGINT = 2**63
SECONDS_AT_ONCE = 0.02
"""After so much time other work of the event loop has a turn."""
_ENDED = ("COMPLETED", "FAILED", "CANCELLED")
_EXECUTABLE = {"playbook", "agent"}
_KINDS = {"playbooks": "playbook", "agents": "agent"}
_ADAPT = "cannot adapt type 'dict' using placeholder '%s' (format: AUTO)"


class Executions:
    """The endpoints of executions."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._engine = state.engine
        self._known = state.engine.executions
        self._kept = Kept()

    # Starts

    def execute(self, request: Request, names: Names) -> Response:
        """Start an execution."""
        problems = Problems()
        wanted = problems.body(request, models.EXECUTE)
        problems.check()
        entry = self._wanted(wanted)
        try:
            run = self._engine.start(entry, wanted.payload, wanted.parent_execution_id)
        except FullError as error:
            raise Refused(503, str(error)) from None
        return answer({"execution_id": str(run.run_id), "status": "started", "commands_generated": 1})

    def _wanted(self, wanted: models.Execute) -> Entry:
        kind = wanted.resource_kind.strip().lower() if wanted.resource_kind is not None else None
        kind = _KINDS.get(kind, kind) if kind else None
        if kind and kind not in _EXECUTABLE:
            raise Refused(422, f"Catalog kind '{wanted.resource_kind}' is not executable")
        kinds = {kind} if kind else _EXECUTABLE
        if wanted.catalog_id:
            entry = self._state.catalog.by_id.get(wanted.catalog_id)
            if entry is None or entry.kind not in kinds:
                raise Refused(404, f"Executable catalog entry not found: catalog_id={wanted.catalog_id}")
            return entry
        path = str(wanted.path)
        stored("", path)
        try:
            path.encode()
        except UnicodeEncodeError as error:
            raise Refused(500, str(error)) from None
        entry = self._state.catalog.find(path, wanted.version)
        if entry is None or entry.kind not in kinds:
            raise Refused(404, f"Executable catalog entry not found: {path}")
        return entry

    # One execution

    def status(self, request: Request, names: Names) -> Response:
        """Return the status, with what the server infers."""
        if "?" in request.target:
            problems = Problems()
            problems.query(request, "full", BOOL, default=False)
            problems.check()
        run = self._run(names["id"])
        if run is None:
            raise Refused(404, "Execution not found")
        known = self._kept.get(run)
        if known is not None:
            return known
        body = self._status(run)
        response = answer(body)
        if body["end_time"] is not None:
            self._kept.put(run, response)
        return response

    def _run(self, text: str) -> Run | None:
        """Return an execution, by a text that Python can read as a number. Raises Refused."""
        run = self._known.find(int(text)) if text.isdecimal() and text.isascii() else None
        if run is None:
            try:
                return self._known.find(int(text))
            except ValueError as error:
                raise Refused(500, str(error)) from None
        return run

    def _status(self, run: Run) -> dict[str, Any]:
        moments = run.moments
        done = [moment.step for moment in moments if moment.code == DONE]
        current = done[-1] if done else None
        completed, failed, inferred = run.over and not run.failed, run.failed, False
        if not completed and not failed:
            program = run.entry.program
            is_last = current is not None and program is not None and not program.steps[current].has_next
            if is_last or (not run.verdict and _seems_over(moments[-1])):
                completed, inferred = True, True
            else:
                completed = run.cancelled or run.verdict == "COMPLETED"
        ended = (run.verdict_at if run.verdict else moments[-1].at) if completed or failed else None
        seconds = max(0.0, (ended or self._state.clock.now()) - run.started)
        return {
            "execution_id": str(run.run_id),
            "current_step": run.name(current) if current is not None else None,
            "completed_steps": list(dict.fromkeys(run.name(step) for step in done)),
            "failed": failed,
            "completed": completed,
            "completion_inferred": inferred,
            "variables": variables_of(run),
            "start_time": iso(run.started),
            "end_time": iso(ended) if ended is not None else None,
            "duration_seconds": round(seconds, 3),
            "duration_human": human(seconds),
        }

    def detail(self, request: Request, names: Names) -> Response:
        """Return an execution, with a page of its events."""
        page = EventPage(request, with_events=True)
        run = self._by_bigint(names["id"])
        body = self._summary(run)
        endpoint = f"/api/executions/{names['id']}/events"
        body = {**body, "events": [], "events_included": page.included, "events_endpoint": endpoint, "pagination": None}
        if page.included:
            found, body["pagination"] = page.of(events_of(run))
            body["events"] = [typed(event, names["id"]) for event in found]
        return answer({**body, "execution_id": names["id"]})

    def events(self, request: Request, names: Names) -> Response:
        """Return a page of the events."""
        page = EventPage(request, with_events=False)
        run = self._by_bigint(names["id"])
        found, pagination = page.of(events_of(run))
        body = {"execution_id": names["id"], "path": run.entry.path, "status": outcome_of(run)[0]}
        shown = [plain(event, names["id"]) for event in found]
        return answer({**body, "events": shown, "pagination": pagination})

    def _by_bigint(self, text: str) -> Run:
        """Return an execution, by a text that PostgreSQL reads as a bigint. Raises Refused or Unhandled."""
        run = self._known.find(bigint(text))
        if run is None:
            raise Refused(404, f"Execution {text} not found")
        return run

    def _summary(self, run: Run) -> dict[str, Any]:
        status, ended = outcome_of(run)
        seconds = max(0.0, (ended or self._state.clock.now()) - run.started)
        return {
            "execution_id": str(run.run_id),
            "catalog_id": str(run.entry.catalog_id),
            "path": run.entry.path,
            "version": run.entry.version,
            "status": status,
            "start_time": iso(run.started, "Z"),
            "end_time": iso(ended, "Z") if ended is not None else None,
            "duration_seconds": round(seconds, 3),
            "duration_human": human(seconds),
            "progress": 100 if status in _ENDED else 0,
            "result": None,
            "error": _error(run),
            "parent_execution_id": str(run.parent) if run.parent is not None else None,
        }

    def cancellation_check(self, request: Request, names: Names) -> Response:
        """Return the status as it follows from the last event alone."""
        run = self._by_int(names["id"])
        last = events_of(run)[-1]["event_type"]
        completed = last in ("playbook.completed", "workflow.completed")
        failed = last in ("playbook.failed", "workflow.failed", "command.failed")
        status = "COMPLETED" if completed else "FAILED" if failed else "CANCELLED" if run.cancelled else RUNNING
        return answer({
            "execution_id": names["id"], "status": status, "event_type": last, "cancelled": run.cancelled,
            "completed": completed, "failed": failed,
        })  # fmt: skip

    def _by_int(self, text: str) -> Run:
        """Return an execution, by a text that Python reads as a number. Raises Refused or Unhandled."""
        try:
            run = self._known.find(int(text))
        except ValueError as error:
            raise Unhandled(str(error)) from None
        if run is None:
            raise Refused(404, f"Execution {text} not found")
        return run

    # All of them

    def listed(self, request: Request, names: Names) -> Response:
        """Return a page of the executions, newest first."""
        problems = Problems()
        page = problems.query(request, "page", INT, 1)
        size = problems.query(request, "page_size", INT, 100)
        problems.check()
        size = max(1, min(MAX_SIZE, size))
        offset = (max(1, page) - 1) * size
        if offset > MAX_OFFSET:
            raise Refused(422, f"Requested page is too deep. Max supported offset is {MAX_OFFSET}.")
        shown = list(islice(self._known.newest_first(), offset, offset + size))
        return answer([self._entry(self._known.seen(run)) for run in shown])

    def _entry(self, run: Run) -> dict[str, Any]:
        found = {**self._summary(run), "error": None}
        if not run.verdict:
            now = self._state.clock.now()
            found |= {"status": RUNNING, "end_time": None, "progress": 0}
            found |= {"duration_seconds": round(now - run.started, 3), "duration_human": human(now - run.started)}
        return found

    # Ends

    def cancel(self, request: Request, names: Names) -> Response:
        """Cancel an execution, and its descendants."""
        problems = Problems()
        wanted = problems.body(request, models.CANCEL, models.Cancel())
        problems.check()
        run = self._by_int(names["id"])
        last = run.last
        if last.code == CANCELLED or (last.code == DONE and last.data.kind != OK):
            status = "CANCELLED" if last.code == CANCELLED else "FAILED"
            message = f"Execution {names['id']} is already {status}"
            body = {"status": "already_completed", "execution_id": names["id"], "cancelled_executions": []}
            return answer({**body, "message": message})
        family = self._known.with_children(run) if wanted.cascade else [run]
        for member in family:
            self._engine.cancel(member, wanted.reason)
        return answer({
            "status": "cancelled", "execution_id": names["id"],
            "cancelled_executions": [str(member.run_id) for member in family],
            "message": f"Cancelled {len(family)} execution(s)",
        })  # fmt: skip

    def finalize(self, request: Request, names: Names) -> Response:
        """End an execution by force, which this server can't."""
        problems = Problems()
        problems.body(request, models.FINALIZE, models.Finalize())
        problems.check()
        text = names["id"]
        try:
            run = self._known.find(int(text))
        except ValueError as error:
            raise Unhandled(str(error)) from None
        if run is None:
            message = f"Execution {text} not found in engine state store"
            return answer({"status": "not_found", "execution_id": text, "message": message})
        if not run.over:
            raise Unhandled(_ADAPT)
        message = f"Execution {text} is already completed"
        return answer({"status": "already_completed", "execution_id": text, "message": message})

    async def cleanup(self, request: Request, names: Names) -> Response:
        """Cancel the executions without an end that are old. There may be many that nobody has looked at before."""
        problems = Problems()
        wanted = problems.body(request, models.CLEANUP)
        problems.check()
        minutes = wanted.older_than_minutes
        limit = self._state.clock.now() - 60 * minutes
        reason = f"Cleaned up stuck execution (older than {minutes} minutes)"
        ids: list[str] = []
        until = perf_counter() + SECONDS_AT_ONCE
        for run in [run for run in self._known.runs.values() if run.started < limit]:
            while self._known.deferred.is_behind(self._known.seen(run)):  # noqa: ASYNC110
                await asyncio.sleep(PAUSE_SECONDS)
            if self._known.knows(run) and not (run.over or run.cancelled):
                ids.append(str(run.run_id))
                if not wanted.dry_run:
                    self._engine.cancel(run, reason)
            if perf_counter() > until:
                await asyncio.sleep(0)
                until = perf_counter() + SECONDS_AT_ONCE
        if wanted.dry_run:
            message = f"[DRY RUN] Would cancel {len(ids)} stuck executions older than {minutes} minutes"
        elif not ids:
            message = f"No stuck executions found older than {minutes} minutes"
        else:
            message = f"Successfully cancelled {len(ids)} stuck executions older than {minutes} minutes"
        return answer({"cancelled_count": len(ids), "execution_ids": ids, "message": message})


def _seems_over(last: Moment) -> bool:
    """Return whether the last event looks like the end, although none is recorded."""
    if last.code == PROCESSED:
        return not last.data.steps
    return last.code == DONE and last.data.kind == OK


def outcome_of(run: Run) -> tuple[str, float | None]:
    """Return the status as the detail tells it, and the time of the end."""
    if run.verdict:
        return run.verdict, run.verdict_at
    last = run.last
    if last.code == PROCESSED and not last.data.steps:
        return "COMPLETED", last.at
    if last.code == DONE and run.name(last.step) == "end":
        return "COMPLETED", last.at
    return RUNNING, None


def _error(run: Run) -> str | None:
    if run.error is not None or not run.verdict:
        return run.error
    last = run.last
    return last.data.error if isinstance(last.data, Outcome) else None


def variables_of(run: Run) -> dict[str, Any]:
    """Return the variables of an execution: its workload, what its steps have set, and what they have returned."""
    if run.active is not None:
        return run.active.variables
    found = dict(run.given)
    for moment in run.moments:
        outcome = moment.data
        if moment.code != DONE or outcome.kind != OK:
            continue
        known = known_value(outcome.value)
        if known is not None:
            found[run.name(moment.step)] = known[0]
        if outcome.sets:
            found.update(outcome.sets)
    return found


def human(seconds: float) -> str:
    """Return a duration as people read it."""
    rest = max(0, round(seconds))
    parts = []
    for letter, length in (("d", 86_400), ("h", 3_600), ("m", 60)):
        count, rest = divmod(rest, length)
        if count:
            parts.append(f"{count}{letter}")
    if rest or not parts:
        parts.append(f"{rest}s")
    return " ".join(parts)


def bigint(text: str) -> int:
    """Return the number that PostgreSQL reads. Raises Unhandled with its error."""
    if "\0" in text:
        raise Unhandled(NO_NULLS)
    digits = text.strip().removeprefix("-").removeprefix("+")
    context = "\nCONTEXT:  unnamed portal parameter $1 = '...'"
    if not (digits.isascii() and digits.isdigit()) or len(text.strip()) - len(digits) > 1:
        raise Unhandled(f'invalid input syntax for type bigint: "{text}"{context}')
    number = int(text)
    if not -MAX_BIGINT <= number < MAX_BIGINT:
        raise Unhandled(f'value "{text}" is out of range for type bigint{context}')
    return number
