"""The events and the progress of an execution, as the Rust server and its worker record them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from mock_noetl.runs import BROKEN, CANCELLED, DONE, FINALIZED, INIT, OK, PROCESSED, STARTED, Followed, Outcome, Run
from mock_noetl.values import iso

MAX_EVENTS = 2_000
WORKER = "worker-5a1d0b0e"
_STEP_MICROSECONDS = 40e-6
_COMMANDS = 1 << 21
_ENDS = {
    "playbook.completed": "COMPLETED", "playbook_completed": "COMPLETED", "playbook.failed": "FAILED",
    "playbook_failed": "FAILED", "playbook_cancelled": "CANCELLED",
}  # fmt: skip
Event = dict[str, Any]


@dataclass(slots=True)
class Recorded:
    """The events of an execution, oldest first."""

    events: list[Event] = field(default_factory=list)

    def has(self, *kinds: str) -> bool:
        """Return whether there is an event of one of these kinds."""
        return any(event["event_type"] in kinds for event in self.events)

    def count(self, *kinds: str, statuses: tuple[str, ...]) -> int:
        """Return how many steps have an event of one of these kinds and statuses; without kinds, of any."""
        return len({
            event["node_name"]
            for event in self.events
            if (not kinds or event["event_type"] in kinds) and event["status"] in statuses
        })  # fmt: skip


def recorded(run: Run) -> Recorded:
    """Return the events of an execution; their times are seconds."""
    made = _Recorder(run)
    for moment in run.moments:
        made.add(moment.code, moment.at, moment.step, moment.data)
    return Recorded(made.events)


def shown(event: Event) -> Event:
    """Return an event as the detail shows it."""
    return {**event, "created_at": iso(event["created_at"], "Z")}


class _Recorder:
    """Makes the events of one execution."""

    def __init__(self, run: Run) -> None:
        self.events: list[Event] = []
        self._run = run
        self._at = run.started
        self._began = run.started
        self._commands: dict[int, str] = {}

    def add(self, code: int, at: float, step: int, data: Any) -> None:
        """Add the events of a moment."""
        self._at = max(self._at, at)
        name = self._run.name(step)
        if code == INIT:
            self._event("playbook_started", self._run.entry.path, "STARTED")
            self._issue(step)
        elif code == STARTED:
            self._began = at
            about = {"command_id": self._commands.get(step, "")}
            self._event("command.claimed", name, "RUNNING", _result("RUNNING", {**about, "worker_id": WORKER}))
            self._event("command.started", name, "STARTED", _result("STARTED", about))
        elif code == DONE:
            self._done(name, data, {"command_id": self._commands.get(step, "")})
        elif code == PROCESSED:
            self._processed(data)
        elif code == CANCELLED:
            self._event("playbook_cancelled", "playbook", "CANCELLED")
        elif code == FINALIZED:
            status, error = data
            self._event(f"playbook_{status.lower()}", "playbook", status, None, error)

    def _event(self, kind: str, node: str, status: str, result: Any = None, error: str | None = None) -> None:
        self._at += _STEP_MICROSECONDS
        event_id = self._run.run_id + 1 + len(self.events)
        self.events.append({
            "event_id": event_id, "event_type": kind, "node_name": node, "status": status, "created_at": self._at,
            "result": result, "error": error,
        })  # fmt: skip

    def _issue(self, step: int) -> None:
        if step < 0:
            return
        number = self._run.run_id + _COMMANDS + len(self.events)
        self._commands[step] = f"{self._run.run_id}:{self._run.name(step)}:{number}"
        self._event("command.issued", self._run.name(step), "PENDING")

    def _done(self, name: str, outcome: Outcome, about: dict[str, Any]) -> None:
        if outcome.kind == BROKEN:
            context = {**about, "error": outcome.error}
            self._event("call.error", name, "FAILED", _result("FAILED", {**context, "call_index": 0}))
            self._event("command.failed", name, "FAILED", _result("FAILED", context))
            return
        word = "success" if outcome.kind == OK else "error"
        streams = {"stdout": outcome.stdout, "stderr": outcome.stderr}
        value = outcome.value if outcome.value is not None else dict(streams)
        taken = round(1e6 * (self._at - self._began)) // 1000
        tool = {"status": word, "data": value, **streams, "exit_code": outcome.exit_code, "duration_ms": taken}
        if outcome.kind != OK:
            tool["error"] = f"Python script exited with code {outcome.exit_code or 1}"
        context = {**about, "call_index": 0, "result": {"status": word, "context": tool}}
        self._event("call.done", name, "COMPLETED", _result("COMPLETED", context))
        self._event("command.completed", name, word, _result(word, {**about, "status": word}))

    def _processed(self, followed: Followed) -> None:
        for name in followed.skipped:
            self._event("step.skipped", name, "SKIPPED", {"status": "SKIPPED"})
        for step in followed.steps:
            self._event("step.enter", self._run.name(step), "ENTERED", {"status": "ENTERED"})
        for step in followed.steps:
            self._issue(step)
        if followed.end is not None:
            self._event(f"playbook.{followed.end.lower()}", "playbook", followed.end, {"status": followed.end})


def _result(status: str, context: dict[str, Any]) -> dict[str, Any]:
    return {"status": status, "context": context}


def detail_status(found: Recorded) -> str:
    """Return the status as the detail tells it: the last event that tells one."""
    for event in reversed(found.events):
        status = _ENDS.get(event["event_type"])
        if status is not None:
            return status
        if event["status"] == "FAILED":
            return "FAILED"
    return "RUNNING"


def listed_status(found: Recorded) -> str:
    """Return the status as lists tell it."""
    if found.has("playbook.completed", "playbook_completed"):
        return "COMPLETED"
    if found.has("playbook.failed", "playbook_failed") or any(event["status"] == "FAILED" for event in found.events):
        return "FAILED"
    return "CANCELLED" if found.has("playbook_cancelled") else "RUNNING"


def ended_at(found: Recorded) -> float | None:
    """Return the time of the last event that ends an execution."""
    return max((event["created_at"] for event in found.events if event["event_type"] in _ENDS), default=None)
