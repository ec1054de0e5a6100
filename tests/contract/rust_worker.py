"""A worker for the Rust server, which runs Python steps: `python rust_worker.py http://127.0.0.1:8082`.

It finds issued commands by the server's HTTP API, claims them, runs each in a process of its own, and reports as
NoETL's own worker does. A script that raises is a `call.done` and a `command.completed` with status `error`; a tool of
another kind can't be run, which is a `call.error` and a `command.failed`. Templates are not rendered.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime
from typing import Any

PAUSE_SECONDS = 0.05
STEP_SECONDS = 600
SLOTS = 4
_MARK = "::returned::"
_WRAPPER = f"""
import json, sys
job = json.load(sys.stdin)
names = dict(job["names"])
exec(compile(job["code"], "step", "exec"), names)
print({_MARK!r} + json.dumps(names.get("result"), default=str))
"""


class Worker:
    """A worker of one server; `base` is the server's address."""

    def __init__(self, base: str) -> None:
        self._base = base
        self._seen: set[int] = set()
        self._slots = threading.Semaphore(SLOTS)

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        """Return the JSON of a response; None for an error."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"content-type": "application/json"}
        request = urllib.request.Request(self._base + path, method=method, data=data, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return json.loads(response.read() or b"null")
        except (urllib.error.HTTPError, OSError) as error:
            print(method, path, error, file=sys.stderr, flush=True)
            return None

    def serve(self) -> None:
        """Run issued commands, until the process ends."""
        while True:
            for execution in self._call("GET", "/api/executions?status=RUNNING&limit=200") or []:
                detail = self._call("GET", f"/api/executions/{execution['execution_id']}") or {}
                for event in detail.get("events", []):
                    if event["event_type"] == "command.issued" and event["event_id"] not in self._seen:
                        self._seen.add(event["event_id"])
                        threading.Thread(target=self._work, args=(event, execution), daemon=True).start()
            time.sleep(PAUSE_SECONDS)

    def _work(self, event: dict[str, Any], execution: dict[str, Any]) -> None:
        with self._slots:
            command = self._call("POST", f"/api/commands/{event['event_id']}/claim", {"worker_id": "contract"})
            if command is None:
                return
            meta = command.get("meta") or {}
            execution_id = command.get("execution_id", execution["execution_id"])
            about = {"command_id": meta.get("command_id") or command.get("command_id")}
            step = event["node_name"]
            self._emit(execution_id, step, "command.started", "STARTED", about)
            context = command.get("context") or {}
            kind = meta.get("tool_kind") or command.get("action")
            if kind != "python":
                failed = {**about, "error": f"Tool '{kind}' is not in this worker"}
                self._emit(execution_id, step, "call.error", "FAILED", {**failed, "call_index": 0})
                self._emit(execution_id, step, "command.failed", "FAILED", failed)
                return
            result = _run_python(context)
            status = result["status"]
            done = {**about, "call_index": 0, "result": {"status": status, "context": result}}
            self._emit(execution_id, step, "call.done", "COMPLETED", done)
            self._emit(execution_id, step, "command.completed", status, {**about, "status": status})

    def _emit(self, execution_id: Any, step: str, kind: str, status: str, context: dict[str, Any]) -> None:
        now = datetime.now(UTC).isoformat()
        event = {"execution_id": execution_id, "step": step, "event_type": kind, "status": status, "context": context}
        self._call(
            "POST", "/api/events", {**event, "worker_id": "contract", "created_at": now, "meta": {"attempts": 1}}
        )


def _run_python(context: dict[str, Any]) -> dict[str, Any]:
    """Run a Python step, and return the tool's result. The names of the workload are globals of the script."""
    start = time.monotonic()
    given = context.get("args") or {}
    names = {**(context.get("render_context") or {}), **given, "input_data": given}
    job = json.dumps({"code": (context.get("tool_config") or {}).get("code") or "", "names": names})
    command = [sys.executable, "-I", "-c", _WRAPPER]
    done = subprocess.run(command, input=job, capture_output=True, text=True, timeout=STEP_SECONDS, check=False)
    lines = done.stdout.splitlines(keepends=True)
    stdout = "".join(line for line in lines if not line.startswith(_MARK))
    data = next((json.loads(line.removeprefix(_MARK)) for line in lines if line.startswith(_MARK)), None)
    result = {
        "status": "error" if done.returncode else "success",
        "data": data if data is not None else {"stdout": stdout, "stderr": done.stderr},
        "stdout": stdout,
        "stderr": done.stderr,
        "exit_code": done.returncode,
        "duration_ms": int((time.monotonic() - start) * 1000),
    }
    if done.returncode:
        result["error"] = f"Python script exited with code {done.returncode}"
    return result


if __name__ == "__main__":
    Worker(sys.argv[1]).serve()
