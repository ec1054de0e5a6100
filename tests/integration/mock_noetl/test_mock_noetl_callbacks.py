"""Callbacks to the gateway that has started a playbook: right, late, repeated, never, malformed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from mock_noetl.callbacks import Callbacks, is_near
from mock_noetl.playbook import load
from mock_noetl.server import build, serve, start
from mock_noetl.state import Settings

HEAD = """
kind: Playbook
apiVersion: noetl.io/v2
metadata: {name: called, path: called}
workload: {request_id: "", gateway_url: ""}
workflow:
  - {step: start, tool: {kind: sandbox, set: {rows: 3}}, next: {arcs: [{step: call}]}}
"""


@asynccontextmanager
async def gateway() -> AsyncIterator[tuple[str, list[tuple[str, bytes, str]]]]:
    """A server that notes what it gets."""
    got: list[tuple[str, bytes, str]] = []

    async def note(request: web.Request) -> web.Response:
        got.append((request.path, await request.read(), request.headers.get("x-internal-token", "")))
        return web.json_response({"accepted": True})

    application = web.Application()
    application.router.add_post("/{path:.*}", note)
    async with TestServer(application) as server:
        yield str(server.make_url("")), got


async def called(tool: str, seconds: float = 0.5) -> tuple[list[tuple[str, bytes, str]], dict[str, Any]]:
    """Run a playbook with a callback; return what arrived, and what the step returned about it."""
    program = build("python", Settings(internal_token="secret"))
    async with serve(program), gateway() as (url, got):
        content = f"{HEAD}  - {{step: call, tool: {{kind: sandbox, {tool}}}}}"
        program.state.catalog.add("called", "playbook", content, load(content))
        run_id = start(program, "called", {"request_id": "r1", "gateway_url": url})
        await asyncio.sleep(seconds)
        run = program.state.engine.executions.runs[int(run_id)]
        results = [m.data.value for m in run.moments if hasattr(m.data, "value") and run.name(m.step) == "call"]
        return list(got), results[0]


async def test_result_is_posted_with_what_the_steps_have_computed() -> None:
    got, result = await called("callback: result, set: {more: '{{ rows + 1 }}'}")
    ((path, body, token),) = got
    document = json.loads(body)
    assert (path, token) == ("/api/internal/callback/async", "secret")
    assert (document["request_id"], document["status"], document["data"]) == ("r1", "COMPLETED", {"rows": 3})
    assert result["callback"] == [{"sent": True, "status": 200, "answer": '{"accepted": true}'}]


async def test_progress_is_posted() -> None:
    ((path, body, _),), _ = await called("callback: progress, message: half, progress: 0.5")
    assert path == "/api/internal/progress"
    assert json.loads(body) == {"request_id": "r1", "step": "call", "message": "half", "progress": 0.5}


@pytest.mark.parametrize(("tool", "count"), [("times: 2", 2), ("times: 0", 0)])
async def test_callback_is_posted_as_often_as_wanted(tool: str, count: int) -> None:
    got, result = await called(f"callback: result, {tool}")
    assert (len(got), len(result["callback"])) == (count, count)


async def test_body_is_posted_as_it_is() -> None:
    ((_, body, _),), _ = await called("callback: result, body: '{not JSON'")
    assert body == b"{not JSON"


async def test_late_callback_comes_after_the_end() -> None:
    early, result = await called("callback: result, late: 1s", 0.5)
    assert (early, result["callback"]) == ([], {"sent": False, "in_seconds": 1.0})
    got, _ = await called("callback: result, late: 300ms", 1)
    assert len(got) == 1


async def test_workload_without_a_gateway_sends_nothing() -> None:
    program = build("python")
    async with serve(program):
        run = program.state.engine.executions.runs[int(start(program, "examples/callback"))]
        await asyncio.sleep(1.5)
    reasons = {m.data.value["callback"][0]["reason"] for m in run.moments if "callback" in str(m.data)}
    assert reasons == {"the workload has no gateway_url and request_id"}


@pytest.mark.parametrize(
    ("url", "near"),
    [
        ("http://127.0.0.1:8090", True),
        ("http://localhost:8090/", True),
        ("http://app.localhost:8090", True),
        ("http://gateway:8090", True),
        ("http://10.1.2.3", True),
        ("http://[::1]:8090", True),
        ("http://[fd00::1]", True),
        ("http://evil.example", False),
        ("http://127.0.0.1.evil.example", False),
        ("http://localhost@evil.example", False),
        ("http://8.8.8.8", False),
        ("http://134744072", False),
        ("http://0x08080808", False),
        ("http://0.0.0.0", False),
        ("http://", False),
        ("http://[", False),
    ],
)
def test_callbacks_go_to_gateways_nearby(url: str, near: bool) -> None:
    assert is_near(url) is near


async def test_token_goes_to_no_other_server_unless_it_was_named() -> None:
    workload = {"gateway_url": "http://gateway.example/", "request_id": "r"}
    refused = await Callbacks("secret").post("result", workload, {})
    assert refused == {
        "sent": False,
        "reason": "http://gateway.example is not on this machine or its networks; --callback-to allows it",
    }
    named = Callbacks("secret", ("http://gateway.invalid/",))
    tried = await named.post("result", {**workload, "gateway_url": "http://gateway.invalid"}, {})
    await named.close()
    assert tried["reason"] != refused["reason"]


async def test_callback_follows_no_redirect() -> None:
    async def elsewhere(request: web.Request) -> web.Response:
        raise web.HTTPTemporaryRedirect(f"{other}{request.path}")

    application = web.Application()
    application.router.add_post("/{path:.*}", elsewhere)
    async with gateway() as (other, got), TestServer(application) as server:
        callbacks = Callbacks("secret")
        sent = await callbacks.post("result", {"gateway_url": str(server.make_url("")), "request_id": "r"}, {})
        await callbacks.close()
    assert (sent["status"], got) == (307, [])
