"""strawberry on uvicorn, with uvloop, httptools and cached documents: `python bench/graphql/strawberry_app.py`.

It runs in a virtual environment of its own. The upstream is asked exactly as often as noetl-edge asks it.
"""

# mypy: disable-error-code="import-not-found, misc, call-arg, untyped-decorator, no-any-return"

from __future__ import annotations

import os
import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import aiohttp
import strawberry
import uvicorn
from strawberry.asgi import GraphQL
from strawberry.extensions import ParserCache, ValidationCache
from strawberry.scalars import JSON

UPSTREAM, PORT = os.environ["UPSTREAM"], int(os.environ["PORT"])
SESSIONS = {f"Bearer {os.environ['SESSION_TOKEN']}".encode(): {"user_id": 1, "email": "dev@example.com"}}
WORDS = {
    "pending": "pending", "queued": "pending", "started": "running", "running": "running", "completed": "completed",
    "succeeded": "completed", "failed": "failed", "error": "failed", "cancelled": "cancelled", "canceled": "cancelled",
}  # fmt: skip
ENDED = frozenset({"completed", "failed", "cancelled"})
ID = re.compile("[0-9]{1,20}")
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Scope]]
Send = Callable[[Scope], Awaitable[None]]


class Upstream:
    """The calls to the upstream; which playbook an execution runs is kept."""

    def __init__(self) -> None:
        self._client: aiohttp.ClientSession | None = None
        self.paths: dict[str, str] = {}

    async def get(self, path: str) -> dict[str, Any]:
        """The JSON answer to a GET."""
        if self._client is None:
            self._client = aiohttp.ClientSession(UPSTREAM, connector=aiohttp.TCPConnector(limit=128))
        async with self._client.get(path, headers={"accept": "application/json"}) as answer:
            answer.raise_for_status()
            return await answer.json()

    async def detail(self, execution_id: str) -> dict[str, Any]:
        """All that upstream says of an execution."""
        found = await self.get(f"/api/executions/{execution_id}?page_size=10")
        if isinstance(found.get("path"), str):
            self.paths[execution_id] = found["path"]
        return found


upstream = Upstream()


@strawberry.type
class ExecutionStatus:
    """Where an execution stands."""

    execution_id: str
    path: str | None
    status: str
    completed: bool
    failed: bool
    cancelled: bool
    current_step: str | None
    completed_steps: list[str]
    variables: JSON | None
    result: JSON | None
    error: str | None


async def _status(execution_id: str) -> ExecutionStatus:
    if not ID.fullmatch(execution_id):
        raise ValueError("Execution not found")
    if execution_id not in upstream.paths:
        await upstream.detail(execution_id)
    status = await upstream.get(f"/api/executions/{execution_id}/status")
    word = "failed" if status.get("failed") else "completed" if status.get("completed") else "running"
    detail = await upstream.detail(execution_id) if word in ENDED or "variables" not in status else {}
    word = WORDS.get(str(detail.get("status", word)).lower(), "running")
    return ExecutionStatus(
        execution_id=execution_id,
        path=detail.get("path") or upstream.paths.get(execution_id),
        status=word,
        completed=word in ENDED,
        failed=word == "failed",
        cancelled=word == "cancelled",
        current_step=status.get("current_step"),
        completed_steps=status.get("completed_steps") or [],
        variables=status.get("variables", detail.get("variables")),
        result=detail.get("result"),
        error=detail.get("error"),
    )


@strawberry.type
class Query:
    """The one field that is measured."""

    @strawberry.field
    async def execution_status(self, execution_id: str) -> ExecutionStatus:
        """Where an execution stands."""
        return await _status(execution_id)


graphql = GraphQL(
    strawberry.Schema(Query, extensions=[ParserCache(maxsize=1000), ValidationCache(maxsize=1000)]), graphql_ide=None
)


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Refuse who has no session, and hand over the rest."""
    if scope["type"] == "http" and dict(scope["headers"]).get(b"authorization") not in SESSIONS:
        await send({"type": "http.response.start", "status": 401, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})
        return
    await graphql(scope, receive, send)


if __name__ == "__main__":
    uvicorn.run(
        app, host="127.0.0.1", port=PORT, loop="uvloop", http="httptools", log_level="warning", access_log=False,
        lifespan="off",
    )  # fmt: skip
