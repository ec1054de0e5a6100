"""One run of a playbook that a client follows by events: what has arrived, and what to do next. Without I/O.

Private to `proxy.client`, whose two clients open the stream and send the start.
"""

from __future__ import annotations

import json
import random
import time
import uuid
from collections.abc import Mapping
from typing import Any

import httpx

from proxy.client._types import ApiError, ExecutionStatus, ExecutionTimeout, NotFound, RunResult, ServerError

START = (
    "mutation Run($name: String!, $vars: JSON!, $client: String) "
    "{ executePlaybook(name: $name, variables: $vars, clientId: $client) { executionId requestId } }"
)
_SILENCE = 90.0
"""The longest time without an event, in seconds; the pings of the gateway come more often."""
_FAILURES = 4
_FIRST_PAUSE, _LAST_PAUSE = 0.5, 8.0


class LiveRun:
    """The state of a run. `execution_id` is empty until it has started; `failures` counts streams that broke in a row.

    Args:
        name: the playbook.
        variables: its variables.
        timeout: the maximum time, in seconds; None: no limit.
    """

    def __init__(self, name: str, variables: Mapping[str, Any] | None, timeout: float | None) -> None:
        self.client_id = str(uuid.uuid4())
        self.variables = {"name": name, "vars": dict(variables or {}), "client": self.client_id}
        self.execution_id = self._request_id = ""
        self.failures = 0
        self._deadline = None if timeout is None else time.monotonic() + timeout
        self._last_id = self._kind = self._data = ""

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

    def remaining(self) -> float | None:
        """Return the seconds that are left. Raises ExecutionTimeout if there are none."""
        if self._deadline is None:
            return None
        remaining = self._deadline - time.monotonic()
        if remaining <= 0:
            raise ExecutionTimeout(self.execution_id, "running")
        return remaining

    def stream(self, token: str, timeout: float) -> dict[str, Any]:
        """Return the arguments of httpx's `stream`. Raises ExecutionTimeout."""
        remaining = self.remaining()
        silence = _SILENCE if remaining is None else min(_SILENCE, remaining)
        headers = {"accept": "text/event-stream", "authorization": f"Bearer {token}"}
        if self._last_id:
            headers["last-event-id"] = self._last_id
        return {
            "method": "GET",
            "url": "/events",
            "params": {"client_id": self.client_id},
            "headers": headers,
            "timeout": httpx.Timeout(timeout, read=silence),
        }

    def opened(self, error: ApiError | None) -> bool:
        """Return whether a stream is open; `error` is that of its response. Raises the error if it is final."""
        if error is None:
            return True
        if isinstance(error, NotFound):
            self.failures = _FAILURES  # a gateway without events
        elif not isinstance(error, ServerError) and error.status != 429:
            raise error
        return False

    def line(self, text: str) -> tuple[str, Any] | None:
        """Take a line of the stream; return the type and the data of the event that it completes, if it does."""
        if text:
            name, _, value = text.partition(": ")
            if name == "event":
                self._kind = value
            elif name == "data":
                self._data += value
            elif name == "id":
                self._last_id = value
            return None
        kind, data, self._kind, self._data = self._kind, self._data, "", ""
        if not data:
            return None
        self.failures = 0
        return kind, json.loads(data)

    def result(self, kind: str, message: Any) -> RunResult | None:
        """Return the result of the run, if an event is that."""
        params = message.get("params", {}) if isinstance(message, dict) else {}
        if kind != "playbook/result" or params.get("requestId") != self._request_id:
            return None
        error = params.get("error")
        if params.get("status") == "COMPLETED" or not isinstance(error, dict):
            return RunResult(self.execution_id, data=params.get("data"))
        return RunResult(self.execution_id, error=str(error.get("message", "")), data=error.get("data"))

    def broken(self) -> float:
        """Note that a stream has ended; return the seconds to wait. Raises ExecutionTimeout."""
        self.failures += 1
        self._kind = self._data = ""
        longest: float = min(_LAST_PAUSE, _FIRST_PAUSE * 2 ** (self.failures - 1))
        pause = longest * random.uniform(0.5, 1)  # noqa: S311 - jitter
        remaining = self.remaining()
        return pause if remaining is None else min(pause, remaining)


def of_status(status: ExecutionStatus) -> RunResult:
    """Return the result of a run whose end was polled."""
    if not status.failed and not status.cancelled:
        return RunResult(status.execution_id, data=status.result)
    text = status.error or ("The execution was cancelled" if status.cancelled else "The execution failed")
    return RunResult(status.execution_id, error=text, data=status.result)
