"""The messages of an event stream: JSON-RPC notifications, as server-sent events (WHATWG HTML, 9.2). Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from proxy import __version__
from proxy.http.json import write_json
from proxy.sessions.live import RESULT

PROTOCOL_VERSION = "2024-11-05"
STATE, PROGRESS, PING = "playbook/state", "playbook/progress", "ping"
EVENT_STREAM = "text/event-stream"
_CAPABILITIES = {"playbooks": True, "callbacks": True, "subscriptions": True, "playbookState": True}
_FAILURE = -32000
_NO_SESSION = -32002
_RESULT = b'{"jsonrpc":"2.0","method":"%b","params":{"requestId":%%b,"executionId":%%b,"status":%%b}}' % RESULT.encode()


class Waiting(NamedTuple):
    """A request whose result a client waits for, as its first message names it."""

    request_id: str
    execution_id: str
    path: str


def hello(client_id: str, waiting: Sequence[Waiting]) -> bytes:
    """Return the first message of a stream, with the requests that wait for a result."""
    result: dict[str, Any] = {
        "protocolVersion": PROTOCOL_VERSION,
        "serverInfo": {"name": "noetl-gateway", "version": __version__},
        "clientId": client_id,
        "capabilities": _CAPABILITIES,
    }
    if waiting:
        result["pendingRequests"] = [
            {"requestId": each.request_id, "executionId": each.execution_id, "playbookPath": each.path}
            for each in waiting
        ]
    return write_json({"jsonrpc": "2.0", "id": 1, "result": result})


def notification(method: str, params: Any) -> bytes:
    """Return a notification. Raises ValueError for parameters that JSON can't express."""
    return write_json({"jsonrpc": "2.0", "method": method, "params": params})


def no_session(text: str) -> bytes:
    """Return the message of a stream that has no valid session."""
    return write_json({"jsonrpc": "2.0", "id": None, "error": {"code": _NO_SESSION, "message": text}})


def success(request_id: str, execution_id: str, data: bytes) -> bytes:
    """Return the result of a request that succeeded; `data` is the JSON of what the playbook returned."""
    return _RESULT % (write_json(request_id), write_json(execution_id), b'"COMPLETED","data":%b' % data)


def failure(request_id: str, execution_id: str, text: str, data: bytes) -> bytes:
    """Return the result of a request that failed; `data` is JSON that explains the failure."""
    error = b'"FAILED","error":{"code":%d,"message":%b,"data":%b}' % (_FAILURE, write_json(text), data)
    return _RESULT % (write_json(request_id), write_json(execution_id), error)


def state(execution_id: str, kind: str, step: str | None, status: str, at: str) -> dict[str, Any]:
    """Return the parameters of a change of an execution. `kind` is `step.exit`, `playbook.completed` or `.failed`."""
    return {"execution_id": execution_id, "event_type": kind, "step_name": step, "status": status, "at": at}


def server_sent(kind: str, data: bytes, number: int | None = None) -> bytes:
    """Return a message as a server-sent event; `number` is its id, if it has one. JSON has no line break."""
    identity = b"" if number is None else b"id: %d\n" % number
    return b"event: %b\n%bdata: %b\n\n" % (kind.encode(), identity, data)
