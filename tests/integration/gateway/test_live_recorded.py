"""The events and answers that clients in the field know from NoETL's own gateway, member by member.

A template has `...` for what differs each time: ids, times and versions. Members may come in any order. Ours on
purpose: `id:` lines, `subscriptions: true`, `"id": null` and status 401 without a session, `duplicate` for a second
callback.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tests.integration.accounts import LOGIN, USER, VALID, Noetl, accounts, ask, sign_in
from tests.integration.gateway.live_server import Executions, call_back, run
from tests.integration.harness import PATIENCE, Running, behind_gateway

REST: Any = ...
CAPABILITIES = {"callbacks": True, "playbookState": True, "playbooks": True, "subscriptions": True}
SERVER = {"name": "noetl-gateway", "version": REST}
HELLO: dict[str, Any] = {
    "jsonrpc": "2.0",
    "id": 1,
    "result": {
        "capabilities": CAPABILITIES,
        "clientId": REST,
        "protocolVersion": "2024-11-05",
        "serverInfo": SERVER,
    },
}
PENDING = [{"executionId": "101", "playbookPath": "team/flow", "requestId": REST}]
PING = {"jsonrpc": "2.0", "method": "ping", "params": {}}


def note(method: str, **params: Any) -> tuple[str, dict[str, Any]]:
    """An event, by its type and its data."""
    return method, {"jsonrpc": "2.0", "method": method, "params": params}


def state(event_type: str, status: str, step: str | None) -> tuple[str, dict[str, Any]]:
    return note("playbook/state", at=REST, event_type=event_type, execution_id="101", status=status, step_name=step)


STEP = state("step.exit", "COMPLETED", "start")
PROGRESS = note("playbook/progress", executionId="101", message="m", progress=0.5, requestId=REST, step="s")
COMPLETED = state("playbook.completed", "completed", None)
RESULT = note("playbook/result", data={"x": 1}, executionId="101", requestId=REST, status="COMPLETED")
FAILED = state("playbook.failed", "failed", None)
FAILURE = note(
    "playbook/result",
    error={"code": -32000, "data": None, "message": "boom"},
    executionId="101",
    requestId=REST,
    status="FAILED",
)


def fits(template: Any, found: Any) -> bool:
    """Whether a value is that of a template."""
    if template is REST:
        return found is not None
    if isinstance(template, dict) and isinstance(found, dict):
        return template.keys() == found.keys() and all(fits(template[name], found[name]) for name in template)
    if isinstance(template, list) and isinstance(found, list):
        return len(template) == len(found) and all(map(fits, template, found))
    return type(template) is type(found) and bool(template == found)


class Reader:
    """Reads the blocks of an event stream, line by line."""

    def __init__(self, content: Any) -> None:
        self._content = content

    async def expect(self, kind: str, data: Any) -> None:
        """Read one block, which has these lines in this order and no others, but for an id."""
        async with asyncio.timeout(PATIENCE):
            lines = (await self._content.readuntil(b"\n\n")).decode().rstrip("\n").split("\n")
        names = [line.partition(": ")[0] for line in lines if not line.startswith("id: ")]
        assert names == ["event", "data"], lines
        values = dict(line.split(": ", 1) for line in lines)
        assert values["event"] == kind
        found = json.loads(values["data"])
        assert values["data"] == json.dumps(found, separators=(",", ":"), ensure_ascii=False)
        assert fits(data, found), values["data"]


@pytest.mark.parametrize("failing", [False, True], ids=["a callback that succeeds", "one that fails"])
async def test_stream_has_the_events_that_clients_know(tmp_path: Path, failing: bool) -> None:
    server = Executions()
    async with behind_gateway(tmp_path, more="live: {heartbeat: 1h}") as (gateway, upstream):
        upstream.answer, headers = server.answer, await gateway.bearer()
        async with gateway.client.get(f"{gateway.url}/events?client_id=cl9", headers=headers) as response:
            reader = Reader(response.content)
            await reader.expect("message", HELLO)
            await reader.expect("ping", PING)
            request_id = (await run(gateway, headers, "cl9"))["data"]["executePlaybook"]["requestId"]
            assert fits({"gateway_url": REST, "request_id": request_id}, server.started[0]["workload"])
            server.status = {"completed_steps": ["start"], "completed": False, "failed": False}
            await reader.expect(*STEP)
            sent = {"request_id": request_id, "step": "s", "message": "m", "progress": 0.5}
            assert await call_back(gateway, "progress", **sent) == (200, {"status": "sent"})
            await reader.expect(*PROGRESS)
            ended: dict[str, Any] = {"error": "boom"} if failing else {"data": {"x": 1}}
            assert await call_back(gateway, request_id=request_id, **ended) == (200, {"status": "delivered"})
            for event in (FAILED, FAILURE) if failing else (COMPLETED, RESULT):
                await reader.expect(*event)
            assert await call_back(gateway, request_id=request_id, **ended) == (200, {"status": "duplicate"})


async def test_client_that_is_back_finds_what_is_pending(tmp_path: Path) -> None:
    server = Executions()
    async with behind_gateway(tmp_path, more="live: {follow: false, heartbeat: 1h}") as (gateway, upstream):
        upstream.answer, headers = server.answer, await gateway.bearer()
        request_id = (await run(gateway, headers, "cl9"))["data"]["executePlaybook"]["requestId"]
        async with gateway.client.get(f"{gateway.url}/events?client_id=cl9", headers=headers) as response:
            hello = {**HELLO, "result": {**HELLO["result"], "clientId": "cl9", "pendingRequests": PENDING}}
            await Reader(response.content).expect("message", hello)
        queued = (202, {"clientDisconnected": True, "status": "queued"})
        await _left(gateway)
        assert await call_back(gateway, request_id=request_id, data={"x": 1}) == queued


async def _left(gateway: Running) -> None:
    async with asyncio.timeout(PATIENCE):
        while await gateway.server.gateway.store.live.connected("cl9"):  # noqa: ASYNC110 - no such event
            await asyncio.sleep(0.005)


async def test_stream_without_a_session_is_one_error(tmp_path: Path) -> None:
    error = {"code": -32002, "message": "Invalid or expired session"}
    async with behind_gateway(tmp_path) as (gateway, _):
        async with gateway.client.get(f"{gateway.url}/events?session_token={'0' * 32}") as response:
            assert (response.status, response.headers["content-type"]) == (401, "text/event-stream")
            await Reader(response.content).expect("error", {"jsonrpc": "2.0", "id": None, "error": error})
            assert await response.content.read() == b""


async def test_callbacks_for_which_nobody_waits(tmp_path: Path) -> None:
    async with behind_gateway(tmp_path) as (gateway, _):
        for what in ("callback/async", "progress"):
            status, body = await call_back(gateway, what, request_id="5e4ddb47-9e9a-4cd2-a2ce-56e47ae5e554")
            assert (status, body["error"]) == (404, "Request not found")
        missing = {"delivered": False, "message": "No pending request found for this request_id"}
        assert await call_back(gateway, "callback", request_id="x", status="success", data={}) == (200, missing)


@pytest.mark.parametrize("in_process", [False, True], ids=["playbook", "process"])
async def test_signing_in_is_answered_as_clients_know_it(tmp_path: Path, in_process: bool) -> None:
    noetl = Noetl(in_process)
    async with accounts(tmp_path, noetl) as (gateway, _):
        user = {"user_id": 7, "email": USER["email"], "display_name": "Anna", "roles": REST}
        login = {
            "status": "authenticated",
            "session_token": LOGIN["session_token"],
            "user": user,
            "expires_at": REST,
            "message": "Authentication successful",
        }
        status, body = await sign_in(gateway)
        assert status == 200
        assert fits(login, body), body
        token = {"session_token": LOGIN["session_token"]}
        valid = {"valid": True, "user": user, "expires_at": REST, "message": "Session is valid"}
        assert fits(valid, (await ask(gateway, "POST", "/api/auth/validate", token, ""))[1])
        invalid = {"valid": False, "user": None, "expires_at": None, "message": "Session is invalid or expired"}
        noetl.answers["validate"] = {**VALID, "valid": False}
        assert (await ask(gateway, "POST", "/api/auth/validate", {"session_token": "1" * 32}, ""))[1] == invalid
        asked = {**token, "playbook_path": "team/flow", "permission_type": "execute"}
        found = (await ask(gateway, "POST", "/api/auth/check-access", asked, ""))[1]
        known = {name: found[name] for name in ("allowed", "user", "playbook_path", "permission_type", "message")}
        assert fits(
            {
                "allowed": True,
                "user": user,
                "playbook_path": "team/flow",
                "permission_type": "execute",
                "message": "Access granted",
            },
            known,
        )
