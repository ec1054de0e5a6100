"""Starts with a `clientId`: what arrives on the event stream, compared with what the server says of the execution."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp

from tests.contract.gateway import Client, shipped_gateway
from tests.contract.playbooks import FAILING, HANDLED, LAST, LOOP, ONE, QUICK, Text
from tests.contract.report import Cell, Column
from tests.contract.server import Server

RUN_SECONDS = 60.0
QUIET_SECONDS = 6.0
"""Longer than the longest pause between two polls: what arrives twice has arrived by then."""
START = """mutation ($p: String!, $v: JSON, $c: String) {
  executePlaybook(name: $p, variables: $v, clientId: $c) { executionId requestId } }"""
STATE = "query ($id: String!) { executionStatus(executionId: $id) { status completed result error } }"
CALLED_BACK = {"sent": "by the worker", "n": 42}
_CODE = f"""
import json, urllib.request
body = {{"request_id": request_id, "status": "COMPLETED", "data": {CALLED_BACK!r}}}
headers = {{"content-type": "application/json"}}
url = gateway_url + "/api/internal/callback/async"
sent = urllib.request.Request(url, data=json.dumps(body).encode(), headers=headers)
with urllib.request.urlopen(sent, timeout=10) as response:
    result = json.loads(response.read())
"""
_NAMES = ("request_id", "gateway_url")


def python_step(name: str, code: str, names: tuple[str, ...], following: str = "") -> dict[str, Any]:
    """Return a step of Python whose names are those of the workload, on both servers.

    The worker of the Rust server gives scripts the workload's names; the one of the Python server renders `input`.
    """
    lines = ["_names = {**globals(), **locals()}"]
    for each in names:
        rendered_here = f"str(_names.get('given_{each}', chr(123)))[:1] != chr(123)"
        lines.append(f"{each} = _names['given_{each}' if {rendered_here} else '{each}']")
    rendered = {f"given_{name}": f"{{{{ {name} }}}}" for name in names}
    step: dict[str, Any] = {
        "step": name,
        "tool": {"kind": "python", "input": rendered, "code": "\n".join([*lines, code])},
    }
    if following:
        step["next"] = {"spec": {"mode": "exclusive"}, "arcs": [{"step": following}]}
    return step


def callback_playbook(server: Server) -> Text:
    """Return a playbook whose last step calls the gateway back."""
    path = "contract/callback"
    if server.sandbox:
        following = {"arcs": [{"step": "call_back"}]}
        first = {"step": "start", "tool": {"kind": "sandbox", "set": CALLED_BACK}, "next": following}
        return Text(path, [first, {"step": "call_back", "tool": {"kind": "sandbox", "callback": "result"}}])
    return Text(path, [python_step("start", _CODE, _NAMES)], dict.fromkeys(_NAMES, ""))


async def check(server: Server) -> Column:
    """Start each kind of playbook with a client, and follow it to its result."""
    column: Column = {}
    async with shipped_gateway(server.url, fast=True) as clients:
        client = clients["admin"]
        for playbook in (QUICK, ONE, FAILING, HANDLED, LOOP):
            await server.register(playbook)
            column[f"{playbook.path}: followed",] = await _followed(server, client, playbook.path)
        called = callback_playbook(server)
        await server.register(called)
        column[f"{called.path}: called back",] = await _followed(server, client, called.path, CALLED_BACK)
    return column


async def _followed(server: Server, client: Client, path: str, expected: Any = None) -> Cell:
    """Start a playbook, and compare its result on the stream with what is expected, or what the server says."""
    url = f"{client.running.url}/events?client_id=contract-{path.replace('/', '-')}"
    headers = {"authorization": f"Bearer {client.token}"}
    timeout = aiohttp.ClientTimeout(total=RUN_SECONDS + QUIET_SECONDS)
    async with client.running.client.get(url, headers=headers, timeout=timeout) as stream:
        await stream.content.readuntil(b"\n\n")
        started = await client.data(START, p=path, v={}, c=f"contract-{path.replace('/', '-')}")
        events = await _events(stream, started["requestId"])
    state = await client.data(STATE, id=started["executionId"])
    results = [params for method, params in events if method == "playbook/result"]
    steps = [p["step_name"] for m, p in events if m == "playbook/state" and p["event_type"] == "step.exit"]
    if len(results) != 1:
        return Cell(f"{len(results)} results", ok=False)
    (result,) = results
    wanted = LAST if path == QUICK.path else state["result"] if expected is None else expected
    if result["status"] == "FAILED":
        is_right = bool(state["error"]) and result["error"]["message"] == state["error"]
    else:
        is_right = state["status"] == "completed" and result["data"] == wanted
    is_right = is_right and state["completed"] and result["executionId"] == started["executionId"]
    text = f"{result['status']}, {len(steps)} steps, result {'equal' if is_right else json.dumps(result)[:200]}"
    return Cell(text, is_right)


async def _events(stream: aiohttp.ClientResponse, request_id: str) -> list[tuple[str, dict[str, Any]]]:
    """Return the events until the result, and what comes in some seconds after it."""
    found: list[tuple[str, dict[str, Any]]] = []
    seconds = RUN_SECONDS
    while True:
        try:
            async with asyncio.timeout(seconds):
                text = (await stream.content.readuntil(b"\n\n")).decode()
        except TimeoutError:
            return found
        data = json.loads(text.partition("data: ")[2])
        if data.get("method") in ("playbook/result", "playbook/state"):
            found.append((data["method"], data["params"]))
        if data.get("method") == "playbook/result" and data["params"]["requestId"] == request_id:
            seconds = QUIET_SECONDS
