"""How many requests the sandboxes answer per second of their own CPU, beside the gateway, and what they remember.

    python -m bench.mocks                   # speed
    python -m bench.mocks --memory 1000000  # memory of that many ended executions

A load test must not measure its sandboxes: each of their endpoints should answer 1.5 times as many requests for each
second of CPU as the gateway does of the requests that lead to it. Both are measured in the same run, in turns. The last
pair has no goal. It shows what both programs use for the same requests: executions are started at the gateway, and
their status is asked for once, so that the sandbox computes them, and the gateway asks it for what it needs to know.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import psutil
from tabulate import tabulate

from bench.programs import BenchError, find_program
from load.processes import Programs, StackError, prepare
from load.scenario import Stack

ROUNDS, SECONDS, CONNECTIONS = 3, 4, 64
GOAL = 1.5
KEPT = 1_000_000
MEMORY_LIMIT = 2 * 1024**3


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A request that is sent again and again.

    Args:
        name: its name in the table.
        pid: of the program that answers.
        url: the URL.
        headers: the header fields.
        body: the body; empty: it is a GET.
        status: the path of the status of an execution; if it is set, each execution that is started is asked for.
        lead: how many executions are started before, so that it has ended.
    """

    name: str
    pid: int
    url: str
    headers: Mapping[str, str]
    body: str = ""
    status: str = ""
    lead: int = 2_000


def measure(endpoint: Endpoint, folder: Path) -> tuple[int, float]:
    """Return the number of requests and the seconds of the program's own CPU. Raises BenchError if one failed."""
    script = folder / "request.lua"
    script.write_text(_script(endpoint), "utf-8")
    process = psutil.Process(endpoint.pid)
    before = _cpu(process)
    command = [find_program("wrk", "wrk"), "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}s", "-s", str(script), endpoint.url]
    path = endpoint.url.removeprefix("http://").partition("/")[2]
    names = {"START": f"/{path}", "STATUS": endpoint.status, "BODY": endpoint.body, "LEAD": str(endpoint.lead)}
    output = subprocess.run(command, check=True, capture_output=True, text=True, env={**os.environ, **names}).stdout
    used = _cpu(process) - before
    if "Non-2xx" in output or "Socket errors" in output:
        raise BenchError(f"{endpoint.name}: {output}")
    return next(int(line.split()[0]) for line in output.splitlines() if "requests in" in line), used


def _script(endpoint: Endpoint) -> str:
    fields = "".join(f'wrk.headers["{name}"] = "{value}"\n' for name, value in endpoint.headers.items())
    if endpoint.status:
        return fields + Path(__file__).with_name("start_and_look.lua").read_text("utf-8")
    body = f'wrk.method = "POST"\nwrk.body = {json.dumps(endpoint.body)}\n' if endpoint.body else ""
    return fields + body


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def endpoints(programs: Programs) -> list[tuple[Endpoint, Endpoint]]:
    """Return pairs: an endpoint of a sandbox, and the gateway's that leads to it."""
    gateway, auth0, noetl = programs.gateways[0], programs.auth0, programs.noetl
    form = {
        "grant_type": "password",
        "client_id": "noetl-gateway",
        "username": "dev@example.com",
        "password": "password",
    }
    tokens = httpx.post(f"{auth0.url}/oauth/token", json=form, timeout=10).raise_for_status().json()
    login = json.dumps({"auth0_token": tokens["id_token"]})
    content = {"content-type": "application/json"}
    answer = httpx.post(f"{gateway.url}/api/auth/login", content=login, headers=content, timeout=10).raise_for_status()
    session = {"authorization": f"Bearer {answer.json()['session_token']}"}
    start = json.dumps({"path": "my_playbook", "workload": {"n": 1}})
    execution = httpx.post(f"{noetl.url}/api/execute", content=start, headers=content, timeout=10).json()[
        "execution_id"
    ]
    pids = {program.name: program.pid or 0 for program in programs.all}
    worker = psutil.Process(pids["gateway-1"]).children() or [psutil.Process(pids["gateway-1"])]

    def of_gateway(name: str, path: str, headers: Mapping[str, str], body: str = "", status: str = "") -> Endpoint:
        return Endpoint(f"gateway: {name}", worker[0].pid, gateway.url + path, headers, body, status)

    status = of_gateway("status", f"/noetl/executions/{execution}/status", session)
    execute = of_gateway("execute", "/noetl/execute", {**session, **content}, start)
    looked = of_gateway(
        "execute and status", "/noetl/execute", {**session, **content}, start, "/noetl/executions/ID/status"
    )
    sign_in = of_gateway("login", "/api/auth/login", content, login)
    return [
        (Endpoint("mock_noetl: status", pids["noetl"], f"{noetl.url}/api/executions/{execution}/status", {}), status),
        (Endpoint("mock_noetl: execute", pids["noetl"], f"{noetl.url}/api/execute", content, start), execute),
        (Endpoint("mock_auth0: JWKS", pids["auth0"], f"{auth0.url}/.well-known/jwks.json", {}), sign_in),
        (Endpoint("mock_auth0: token", pids["auth0"], f"{auth0.url}/oauth/token", content, json.dumps(form)), sign_in),
        (replace(looked, name="mock_noetl: for both", pid=pids["noetl"]), looked),
    ]


def speed(folder: Path) -> bool:
    """Measure all pairs, print the table, and return whether each reaches the goal."""
    rows, good = [], True
    programs = _started(folder)
    try:
        for pair in endpoints(programs):
            rounds = [[_rate(endpoint, folder) for endpoint in pair] for _ in range(ROUNDS)]
            mock, gateway = (statistics.median(column) for column in zip(*rounds, strict=True))
            has_goal = not pair[0].status
            good = good and (not has_goal or mock / gateway >= GOAL)
            ratio = f"{mock / gateway:.2f}{'' if has_goal else ' (no goal)'}"
            rows.append([pair[0].name, f"{mock:,.0f}", pair[1].name, f"{gateway:,.0f}", ratio])
    finally:
        programs.stop()
    headers = ["endpoint", "per second of CPU", "beside", "per second of CPU", f"ratio (goal {GOAL})"]
    print(tabulate(rows, headers, disable_numparse=True))
    return good


def _rate(endpoint: Endpoint, folder: Path) -> float:
    count, used = measure(endpoint, folder)
    return count / used


def memory(folder: Path, count: int) -> bool:
    """Start executions and look at them, until there are `count`; print what they take, and check the limit."""
    programs = _started(folder)
    try:
        noetl = programs.noetl
        process = psutil.Process(noetl.pid or 0)
        before, begun = process.memory_info().rss, time.monotonic()
        body = json.dumps({"path": "my_playbook", "workload": {"n": 1}})
        endpoint = Endpoint(
            "execute and status", noetl.pid or 0, f"{noetl.url}/api/execute",
            {"content-type": "application/json"}, body,
            "/api/executions/ID/status", 20_000,
        )  # fmt: skip
        requests = 0
        while requests < 2 * count:
            requests += measure(endpoint, folder)[0]
        after = process.memory_info().rss
    finally:
        programs.stop()
    started = requests / 2
    print(
        f"{started:,.0f} executions in {time.monotonic() - begun:.0f} s: "
        f"memory {before / 2**20:.0f} -> {after / 2**20:.0f} MiB, {(after - before) / started:.0f} bytes for each"
    )
    return after < MEMORY_LIMIT


def _started(folder: Path) -> Programs:
    programs = prepare(Stack(store="file"), 1000, folder, kept=KEPT)
    try:
        programs.start()
    except StackError as error:
        programs.stop()
        raise BenchError(str(error)) from None
    return programs


def main() -> int:
    """Measure what is wanted."""
    parser = argparse.ArgumentParser(prog="python -m bench.mocks", description=__doc__)
    parser.add_argument("--memory", type=int, help="remember that many executions, instead of measuring the speed")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="noetl-edge-bench-") as name:
        try:
            good = memory(Path(name), options.memory) if options.memory else speed(Path(name))
            return 0 if good else 1
        except BenchError as error:
            print(f"bench: {error}", file=sys.stderr)
            return 2


if __name__ == "__main__":
    sys.exit(main())
