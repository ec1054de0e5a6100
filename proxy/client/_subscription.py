"""The streams that a program reads: the states of an execution, and the events of a client. Without I/O.

Private to `proxy.client`, whose two clients open the streams.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from proxy.client._calls import STATUS_FIELDS, error_in_answer, status_of
from proxy.client._stream import EventStream, Received, is_temporary
from proxy.client._types import ExecutionStatus, LiveEvent

_SUBSCRIBE = f"subscription Subscribe($id: String!) {{ execution(executionId: $id) {{ {STATUS_FIELDS} }} }}"


class StatusStream(EventStream[ExecutionStatus]):
    """The states of an execution, each one that differs from the one before, up to its end."""

    def __init__(self, execution_id: str, timeout: float | None) -> None:
        super().__init__(execution_id, timeout)
        self._last: ExecutionStatus | None = None

    def request(self, token: str, timeout: float) -> dict[str, Any]:
        """Return the arguments of httpx's `stream`. Raises ExecutionTimeout."""
        body = {"query": _SUBSCRIBE, "variables": {"id": self.execution_id}}
        return {"method": "POST", "url": "/graphql", "json": body, **self.options(token, timeout)}

    def take(self, event: Received) -> Iterable[ExecutionStatus]:
        """Return the state, if an event has a new one. Raises ApiError."""
        if event.kind != "next":
            return ()
        content = json.loads(event.data)
        error = error_in_answer(content)
        if error is not None:
            if is_temporary(error):
                return ()  # the stream ends, and is opened again
            raise error
        status = status_of(content["data"]["execution"])
        is_new, self._last = status != self._last, status
        self.over = status.completed
        return (status,) if is_new else ()


class LiveEvents(EventStream[LiveEvent]):
    """The events of a client, resumed behind the last one that was read."""

    def __init__(self, client_id: str, last_event_id: str | None) -> None:
        super().__init__("", None)
        self._client_id = client_id
        self._last_id = last_event_id or ""

    def request(self, token: str, timeout: float) -> dict[str, Any]:
        """Return the arguments of httpx's `stream`."""
        options = self.options(token, timeout)
        return {"method": "GET", "url": "/events", "params": {"client_id": self._client_id}, **options}

    def take(self, event: Received) -> Iterable[LiveEvent]:
        """Return the event, if it is one of the client: not the first message, and no ping."""
        if not event.kind.startswith("playbook/"):
            return ()
        return (LiveEvent(event.id, event.kind, json.loads(event.data)["params"]),)
