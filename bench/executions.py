"""A thousand executions at once, half with callbacks, half followed, beside a busy relay.

    python -m bench.executions --count 1000

The NoETL server is the sandbox; relayed requests go to an nginx. Each result must arrive once. What executions cost is
the gateway's CPU in a run without the relay; the relay should lose no more than that. As the load generator, the
sandbox and the nginx share the other core, requests per second of the gateway's own CPU are compared as well.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import uvloop

from bench import requests, wrk
from bench.contenders import Testbed, testbed
from bench.programs import BenchError, Program, free_port, print_report, two_cores

_PLAYBOOKS = ("examples/callback", "examples/hello_world")
"""One that calls back, and one that has to be followed."""
_CLIENTS, _START_SECONDS, _PATIENCE = 50, 10.0, 60.0
_RUN = "mutation ($n: String!, $c: String) { executePlaybook(name: $n, clientId: $c) { requestId executionId } }"
_ROUTE = {"path": "/fast/{path:**}", "upstream": "static", "rewrite": "/api/{path}", "methods": ["GET"]}
_RULE = {"allow": ["view"], "roles": ["developer"], "paths": ["/fast/**"]}


class Executed(NamedTuple):
    """What became of the executions: results by request, the CPU of the gateway, the time, and polls upstream."""

    started: set[str]
    results: Counter[str]
    cpu: float
    seconds: float
    polls: float


async def _listen(http: httpx.AsyncClient, client: str, token: str, results: Counter[str]) -> None:
    headers = {"authorization": f"Bearer {token}"}
    async with http.stream("GET", f"/events?client_id={client}", headers=headers, timeout=None) as response:
        kind = ""
        async for line in response.aiter_lines():
            if line.startswith("event: "):
                kind = line.removeprefix("event: ")
            elif line.startswith("data: ") and kind == "playbook/result":
                results[json.loads(line.removeprefix("data: "))["params"]["requestId"]] += 1


async def _polls(http: httpx.AsyncClient) -> float:
    text = (await http.get("/metrics")).text
    return sum(float(found) for found in re.findall(r"^noetl_gateway_execution_polls_total\{.*?\} (\S+)$", text, re.M))


async def execute(gateway: Program, tokens: Sequence[str], count: int) -> Executed:
    """Start executions within ten seconds, and wait for all results. Raises BenchError."""
    results: Counter[str] = Counter()
    started: set[str] = set()
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=gateway.url, timeout=_PATIENCE, trust_env=False, limits=limits) as http:
        listening = [
            asyncio.create_task(_listen(http, f"many-{number}", tokens[number], results)) for number in range(_CLIENTS)
        ]
        await asyncio.sleep(1)
        polls, cpu, began = await _polls(http), gateway.cpu_seconds(), time.perf_counter()

        async def start(number: int) -> None:
            await asyncio.sleep(number * _START_SECONDS / count)
            owner = number % _CLIENTS
            variables = {"n": _PLAYBOOKS[number % 2], "c": f"many-{owner}"}
            headers = {"authorization": f"Bearer {tokens[owner]}"}
            response = await http.post("/graphql", json={"query": _RUN, "variables": variables}, headers=headers)
            data = response.json().get("data")
            if not data:
                raise BenchError(f"a start failed: {response.text[:200]}")
            started.add(data["executePlaybook"]["requestId"])

        await asyncio.gather(*map(start, range(count)))
        async with asyncio.timeout(_PATIENCE):
            while not started <= results.keys():  # noqa: ASYNC110 - many streams
                await asyncio.sleep(0.05)
        seconds = time.perf_counter() - began
        await asyncio.sleep(6)  # what arrives twice has arrived by then
        found = Executed(started, results, gateway.cpu_seconds() - cpu, seconds, await _polls(http) - polls)
        for task in listening:
            task.cancel()
        return found


def _start(running: Testbed, other: int) -> Program:
    """Start the sandbox, and a gateway before it and the nginx."""
    port = free_port()
    log = running.folder / "mock_noetl.log"
    command = (sys.executable, "-m", "mock_noetl", "--port", str(port))
    sandbox = running.run(Program("mock_noetl", command, port, log, other, "/api/health"))
    blocks: dict[str, dict[str, Any]] = {"live": {"follow": True}}
    blocks["upstreams"] = {"static": {"urls": [running.upstream.url]}}
    return running.gateway(blocks, before=sandbox, routes=(_ROUTE,), rules=(_RULE,))


def measure(running: Testbed, other: int, count: int, seconds: int) -> list[str]:
    """Measure, and return the lines of the report."""
    gateway = _start(running, other)
    tokens = running.who.tokens
    file = Path(running.folder) / "fast.requests"
    bearer = {"authorization": f"Bearer {tokens[0]}"}
    requests.write(
        [requests.Request("stats", "GET", "/fast/dashboard/stats", None, bearer)], f"127.0.0.1:{gateway.port}", file
    )

    def load() -> tuple[wrk.Load, float]:
        cpu = gateway.cpu_seconds()
        done = wrk.run(gateway, file, seconds=seconds, connections=32, cores=other)
        return done, gateway.cpu_seconds() - cpu

    load()
    alone = uvloop.run(execute(gateway, tokens, count))
    base, base_cpu = load()

    async def both() -> tuple[Executed, tuple[wrk.Load, float]]:
        return await asyncio.gather(execute(gateway, tokens, count), asyncio.to_thread(load))

    busy, (beside, beside_cpu) = uvloop.run(both())
    of_cpu = base.requests / base_cpu
    share = alone.cpu / max(alone.seconds, _START_SECONDS)
    left = beside.requests / max(0.001, beside_cpu - alone.cpu)
    lines = []
    for name, found in (("alone", alone), ("beside the relay", busy)):
        twice = sum(times > 1 for times in found.results.values())
        lost = len(found.started - found.results.keys())
        text = f"{len(found.started)} started, {lost} results lost, {twice} twice, all after {found.seconds:.1f} s"
        lines.append(f"executions {name:18} {text}, {found.polls / count:.1f} polls each")
    return [
        *lines,
        f"CPU of {count} executions    {alone.cpu:.2f} s, {100 * share:.0f} % of a core while they run",
        f"relay without executions   {base.rate:.0f}/s, {of_cpu:.0f} per second of CPU",
        f"relay beside them          {beside.rate:.0f}/s ({beside.rate / base.rate:.2f}), {left:.0f} per second of the "
        f"CPU that executions leave ({left / of_cpu:.2f})",
    ]


def main() -> int:
    """Start what is needed, measure, and print the report."""
    parser = argparse.ArgumentParser(prog="python -m bench.executions", description="Measure many executions at once.")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seconds", type=int, default=12, help="length of the load on the relay")
    options = parser.parse_args()
    core, other = two_cores()

    def report() -> list[str]:
        with testbed(core, other) as running:
            return measure(running, other, options.count, options.seconds)

    return print_report(report)


if __name__ == "__main__":
    sys.exit(main())
