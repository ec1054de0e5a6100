"""`/api/internal/…`: workers report the progress and the results of playbooks that clients have started."""

from __future__ import annotations

import asyncio
import hmac
from dataclasses import dataclass, field
from typing import Any

from proxy.errors import BadRequest, NotFound, Unauthorized
from proxy.exchange import RequestContext
from proxy.http.credentials import bearers
from proxy.http.json import is_text, parse_json, require_json, write_json
from proxy.http.response import Response, json_response
from proxy.live.hub import MAX_RESULT, Delivery, Hub, Outcome
from proxy.noetl.accounts.callbacks import AuthCallbacks

_ANSWERS = {
    Delivery.DELIVERED: (200, {"status": "delivered"}),
    Delivery.QUEUED: (202, {"status": "queued", "clientDisconnected": True}),
    Delivery.DUPLICATE: (200, {"status": "duplicate"}),
}
_IN_THREAD = 64 * 1024
_AT_ONCE = 4
_WORDS = ("COMPLETED", "FAILED")


@dataclass(frozen=True, slots=True)
class CallbackHandlers:
    """The endpoints; `token` must come with each request, if it is set."""

    hub: Hub
    auth_callbacks: AuthCallbacks
    token: str | None
    slow: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_AT_ONCE))

    async def result(self, context: RequestContext) -> Response:
        """Accept the result of a playbook that was started with the id of a client."""
        self._check_token(context)
        require_json(context.head.fields)
        data = await context.body.read(MAX_RESULT)
        if len(data) > _IN_THREAD:
            async with self.slow:
                request_id, outcome = await asyncio.to_thread(_read_result, data)
        else:
            request_id, outcome = _read_result(data)
        status, answer = _ANSWERS[await self.hub.finish(await self.hub.find(request_id), outcome)]
        return json_response(answer, status)

    async def progress(self, context: RequestContext) -> Response:
        """Accept a report of progress."""
        document = await self._read(context)
        request = await self.hub.find(_request_id(document))
        if request.is_over:
            raise NotFound("Request not found", detail="progress after the result")
        await self.hub.progress(request, *map(document.get, ("step", "message", "progress")))
        return json_response({"status": "sent"})

    async def auth(self, context: RequestContext) -> Response:
        """Accept the callback of an auth playbook."""
        document = await self._read(context)
        if await self.auth_callbacks.deliver(_request_id(document), document):
            return json_response({"delivered": True, "message": "Callback delivered successfully"})
        return json_response({"delivered": False, "message": "No pending request found for this request_id"})

    async def _read(self, context: RequestContext) -> dict[str, Any]:
        """Return the small body of a request. Raises Unauthorized for one without the token."""
        self._check_token(context)
        document = await context.body.json_object(_IN_THREAD)
        _writable(document)
        return document

    def _check_token(self, context: RequestContext) -> None:
        """Raise Unauthorized for a request without the token."""
        if self.token is None:
            return
        fields = context.head.fields
        carried = (*fields.values(b"x-internal-token"), *bearers(fields.values(b"authorization")))
        given = next((text for value in carried if (text := value.strip())), "")
        if not hmac.compare_digest(given.encode("latin-1"), self.token.encode()):
            raise Unauthorized("Wrong internal token", detail="a callback without live.internal_token")


def _read_result(data: bytes) -> tuple[str, Outcome]:
    """Return the id of the request, and the outcome, in the body of a callback. Safe in a thread."""
    document = parse_json(data)
    if not isinstance(document, dict):
        raise BadRequest("The body must be a JSON object")
    return _request_id(document), _outcome(document)


def _request_id(document: dict[str, Any]) -> str:
    found = document.get("request_id")
    if not is_text(found) or not found:
        raise BadRequest("request_id is required")
    return found


def _outcome(document: dict[str, Any]) -> Outcome:
    """Return the outcome that a callback reports: a failure, if its status or an error says so."""
    status, error, execution_id = (document.get(name) for name in ("status", "error", "execution_id"))
    word = "COMPLETED" if status is None else str(status).upper()
    if word not in _WORDS:
        raise BadRequest("status must be COMPLETED or FAILED")
    identity = str(execution_id) if isinstance(execution_id, str | int) else ""
    text = error if isinstance(error, str) else "The playbook failed"
    value = document.get("data")
    if isinstance(error, dict) and isinstance(error.get("message"), str):
        text = error["message"]
    elif error is not None and not isinstance(error, str) and value is None:
        value = error
    data = _writable(value)
    _writable(text)
    if error is None and word == "COMPLETED":
        return Outcome(data, None, identity)
    return Outcome(data, text, identity)


def _writable(value: Any) -> bytes:
    """Return a value as JSON. Raises BadRequest for what JSON in UTF-8 can't express, such as 1e400."""
    try:
        return write_json(value)
    except (ValueError, TypeError):
        raise BadRequest("A value can't be written as JSON") from None
