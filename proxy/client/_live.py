"""One run of a playbook that a client follows by events: what has arrived, and what to do next. Without I/O.

Private to `proxy.client`, whose two clients open the stream and send the start.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from proxy.client._stream import EventStream, Received
from proxy.client._types import ApiError, ExecutionStatus, NotFound, RunResult

START = (
    "mutation Run($name: String!, $vars: JSON!, $client: String) "
    "{ executePlaybook(name: $name, variables: $vars, clientId: $client) { executionId requestId } }"
)
_FAILURES = 4


class LiveRun(EventStream[RunResult]):
    """The state of a run. `execution_id` is empty until it has started.

    Args:
        name: the playbook.
        variables: its variables.
        timeout: the maximum time, in seconds; None: no limit.
    """

    def __init__(self, name: str, variables: Mapping[str, Any] | None, timeout: float | None) -> None:
        super().__init__("", timeout)
        self.client_id = str(uuid.uuid4())
        self.variables = {"name": name, "vars": dict(variables or {}), "client": self.client_id}
        self._request_id = ""

    @property
    def has_started(self) -> bool:
        """Whether the playbook was started."""
        return bool(self.execution_id)

    @property
    def must_poll(self) -> bool:
        """Whether streams break again and again, so that polls are the way to wait."""
        return self.has_started and self.failures >= _FAILURES

    def started(self, data: Mapping[str, Any]) -> None:
        """Note what the start has returned."""
        self.execution_id, self._request_id = str(data["executionId"]), str(data["requestId"])

    def request(self, token: str, timeout: float) -> dict[str, Any]:
        """Return the arguments of httpx's `stream`. Raises ExecutionTimeout."""
        options = self.options(token, timeout)
        return {"method": "GET", "url": "/events", "params": {"client_id": self.client_id}, **options}

    def opened(self, error: ApiError | None) -> bool:
        """Return whether a stream is open; `error` is that of its response. Raises the error if it is final."""
        if isinstance(error, NotFound):
            self.failures = _FAILURES  # a gateway without events
            return False
        return super().opened(error)

    def take(self, event: Received) -> Iterable[RunResult]:
        """Return the result of the run, if an event is that."""
        if event.kind != "playbook/result":
            return ()
        params = json.loads(event.data).get("params", {})
        if params.get("requestId") != self._request_id:
            return ()
        error = params.get("error")
        if params.get("status") == "COMPLETED" or not isinstance(error, dict):
            return (RunResult(self.execution_id, data=params.get("data")),)
        return (RunResult(self.execution_id, error=str(error.get("message", "")), data=error.get("data")),)


def of_status(status: ExecutionStatus) -> RunResult:
    """Return the result of a run whose end was polled."""
    if not status.failed and not status.cancelled:
        return RunResult(status.execution_id, data=status.result)
    text = status.error or ("The execution was cancelled" if status.cancelled else "The execution failed")
    return RunResult(status.execution_id, error=text, data=status.result)
