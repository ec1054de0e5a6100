"""The answers of a NoETL server, read in either dialect: JSON, or an error with its text. Pure."""

from __future__ import annotations

import json
from typing import Any

from proxy.errors import BadGateway, BadRequest, GatewayError, NotFound
from proxy.http.json import read_json, write_json
from proxy.noetl.needs import MAX_ID

_MAX_REASON = 300


def unexpected(detail: str) -> BadGateway:
    """Return the error for an answer of another shape than NoETL's; `detail` is for the access log."""
    return BadGateway("NoETL server sent an unexpected response", detail=detail)


def checked_id(execution_id: str) -> str:
    """Return an execution's id. Raises NotFound for one that no server can have given: ids have 63 bits."""
    if not execution_id.isascii() or not execution_id.isdigit() or len(execution_id) > 20:
        raise NotFound("Execution not found")
    if int(execution_id) > MAX_ID:
        raise NotFound("Execution not found")
    return execution_id


def json_body(document: Any) -> bytes:
    """Return a document as the JSON body of a request.

    Raises:
        BadRequest: the document has values that JSON does not support, such as NaN.
    """
    try:
        return write_json(document)
    except (ValueError, TypeError):
        pass
    try:
        return json.dumps(document, allow_nan=False).encode()
    except (ValueError, RecursionError):
        raise BadRequest("A value can't be written as JSON") from None


def document_of(status: int, data: bytes, missing: str) -> Any:
    """Return the JSON of an answer.

    Args:
        status: of the answer.
        data: its body.
        missing: the text of the error if there is no such thing (404).

    Raises:
        GatewayError: the status is an error, or the body is not JSON.
    """
    if status >= 300:
        raise error_of(status, data, missing)
    try:
        return read_json(data) if data else None
    except (ValueError, RecursionError):
        raise unexpected(f"status {status}, not JSON") from None


def error_of(status: int, data: bytes, missing: str) -> GatewayError:
    """Return the error for an answer with the status of an error. Arguments as of `document_of`."""
    text = reason_of(data)
    if status == 404:
        return NotFound(missing or "Not found", detail=text)
    if status in (400, 409, 415, 422):
        return BadRequest(text or None, detail=f"upstream status {status}")
    return BadGateway("NoETL server failed", detail=f"upstream status {status}: {text}")


def reason_of(data: bytes) -> str:
    """Return the text of an error's body: of either dialect, or plain text."""
    try:
        document = read_json(data) if data else None
    except (ValueError, RecursionError):
        return " ".join(data.decode("utf-8", "replace").split())[:_MAX_REASON]
    if not isinstance(document, dict):
        return ""
    reason = document.get("detail") or document.get("error") or document.get("message")
    if isinstance(reason, list):
        parts = (item for item in reason if isinstance(item, dict))
        reason = "; ".join(f"{'.'.join(map(str, p.get('loc', ())))}: {p.get('msg')}" for p in parts)
    return str(reason)[:_MAX_REASON] if reason else ""
