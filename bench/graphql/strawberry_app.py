"""strawberry on uvicorn, with uvloop, httptools and cached documents: `python bench/graphql/strawberry_app.py`.

It runs in a virtual environment of its own. The upstream receives exactly as many requests as from noetl-edge.
"""

# mypy: disable-error-code="import-not-found, misc, call-arg, untyped-decorator, no-any-return"

from __future__ import annotations

import os
from typing import Any

import aiohttp
import strawberry
import uvicorn
from strawberry.asgi import GraphQL
from strawberry.extensions import ParserCache, ValidationCache
from strawberry.scalars import JSON

UPSTREAM, PORT = os.environ["UPSTREAM"], int(os.environ["PORT"])
SESSIONS = {f"Bearer {os.environ['SESSION_TOKEN']}".encode(): {"user_id": 1, "email": "dev@example.com"}}
PATHS: dict[str, str] = {}
CLIENTS: list[aiohttp.ClientSession] = []


async def get(path: str) -> dict[str, Any]:
    """Return the upstream's JSON."""
    if not CLIENTS:
        CLIENTS.append(aiohttp.ClientSession(UPSTREAM, connector=aiohttp.TCPConnector(limit=128)))
    async with CLIENTS[0].get(path, headers={"accept": "application/json"}) as response:
        response.raise_for_status()
        return await response.json()


@strawberry.type
class ExecutionStatus:
    """The state of an execution."""

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


@strawberry.type
class Query:
    """The one field that is measured."""

    @strawberry.field
    async def execution_status(self, execution_id: str) -> ExecutionStatus:
        """Return the state of a running execution; its playbook never changes, and is requested once."""
        if not execution_id.isdecimal():
            raise ValueError("Execution not found")
        if execution_id not in PATHS:
            PATHS[execution_id] = (await get(f"/api/executions/{execution_id}?page_size=10"))["path"]
        status = await get(f"/api/executions/{execution_id}/status")
        word = "failed" if status.get("failed") else "completed" if status.get("completed") else "running"
        return ExecutionStatus(
            execution_id=execution_id,
            path=PATHS[execution_id],
            status=word,
            completed=word != "running",
            failed=word == "failed",
            cancelled=False,
            current_step=status.get("current_step"),
            completed_steps=status.get("completed_steps") or [],
            variables=status.get("variables"),
            result=status.get("result"),
            error=status.get("error"),
        )


SCHEMA = strawberry.Schema(Query, extensions=[ParserCache(maxsize=1000), ValidationCache(maxsize=1000)])
GRAPHQL = GraphQL(SCHEMA, graphql_ide=None)


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Reject requests without a session, and hand over the others."""
    if scope["type"] == "http" and dict(scope["headers"]).get(b"authorization") not in SESSIONS:
        await send({"type": "http.response.start", "status": 401, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})
        return
    await GRAPHQL(scope, receive, send)


if __name__ == "__main__":
    options = {"loop": "uvloop", "http": "httptools", "log_level": "warning", "access_log": False, "lifespan": "off"}
    uvicorn.run(app, host="127.0.0.1", port=PORT, **options)
