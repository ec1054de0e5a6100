"""executionStatus through other GraphQL servers: the same upstream, the same calls to it, the same answer.

Each has one core, and a session check that is a look into a table in memory. They write no access log and judge no
access rules; noetl-edge does both.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import httpx

from bench.asks import Ask
from bench.contenders import Contender
from bench.machine import machine, said, versions
from bench.measure import Rounds, limits
from bench.programs import ROOT, Missing, Program, WrongAnswer, find, free_port
from bench.results import Results, Settings
from bench.run import now, programs, say
from bench.scenarios import EDGE, LABELS, MERCURIUS, STRAWBERRY, YOGA, Scenario, poll

_HERE = Path(__file__).with_name("graphql")
_PYTHON = ROOT / "var" / "bench" / "strawberry" / "bin" / "python"
_PACKAGES = ("fastify", "graphql", "graphql-jit", "graphql-yoga", "mercurius", "undici")
_RIVALS = STRAWBERRY, YOGA, MERCURIUS, EDGE
_WARM_UP_SECONDS = 3
_COUNTED = 20

CONDITIONS = (
    "everyone is asked the same query with the same session and gives the same JSON; each poll is one request to the "
    "same upstream, counted there before the measurement",
    "mercurius, graphql-yoga and strawberry look the session up in a table in memory, judge no access rules and write "
    "no log; noetl-edge has its session store, access rules and access log on",
    "mercurius runs with jit: 1; graphql-yoga and strawberry with their caches of parsed and validated documents",
    "each has one core, Node's and Python's helper threads included; upstream and load generator have the other one",
)


def run(settings: Settings) -> Results:
    """Measure. Raises BenchError or Missing."""
    nginx, wrk, node = find("nginx", "nginx-light"), find("wrk", "wrk"), find("node", "nodejs")
    if not (_HERE / "node_modules").is_dir() or not _PYTHON.exists():
        raise Missing("the other GraphQL servers are not installed: run make bench-graphql")
    where, begun = machine(), now()
    with programs(settings.core, settings.other_core) as field:
        field.start_gateway(nginx)
        folder, core, token = field.folder, settings.core, field.credentials.session_token
        upstream = field.helpers["upstream"]
        for name, command in _commands(node).items():
            field.add(name, LABELS[name], _program(name, command, folder, core, upstream, token))
        ask = poll({"authorization": f"Bearer {token}"})
        chosen = _scenarios(ask)
        for name in _RIVALS:
            count_calls(field.contenders[name], ask, upstream)
        rounds = Rounds(wrk, field, settings, _RIVALS, say, _WARM_UP_SECONDS)
        tables = rounds.run(chosen)
    return Results(
        measured_at=begun,
        machine=where,
        versions={**versions({"nginx": nginx, "wrk": wrk, "node": node}), **_versions()},
        settings=settings,
        tables=tables,
        limits=limits(tables),
        conditions=CONDITIONS,
        failures=tuple(f"{scenario}, {LABELS[name]}: {why}" for (scenario, name), why in rounds.failures.items()),
    )


def _scenarios(ask: Ask) -> list[Scenario]:
    title = "executionStatus of a running execution, POST /graphql with a session"
    unlike = "the same, each request with an id of its own, so that none is like another"
    return [
        Scenario("graphql", title, dict.fromkeys(_RIVALS, ask)),
        Scenario("graphql_unlike", unlike, dict.fromkeys(_RIVALS, replace(ask, unlike=True))),
    ]


def _commands(node: str) -> Mapping[str, tuple[str, ...]]:
    return {
        STRAWBERRY: (str(_PYTHON), str(_HERE / "strawberry_app.py")),
        YOGA: (node, str(_HERE / "yoga.mjs")),
        MERCURIUS: (node, str(_HERE / "mercurius.mjs")),
    }


def _program(name: str, command: tuple[str, ...], folder: Path, core: int, upstream: Program, token: str) -> Program:
    port = free_port()
    environment = {
        "PORT": str(port), "UPSTREAM": upstream.url, "SESSION_TOKEN": token, "NODE_ENV": "production",
    }  # fmt: skip
    return Program(name, command, f"http://127.0.0.1:{port}/", folder / f"{name}.log", core, environment)


def count_calls(contender: Contender, ask: Ask, upstream: Program) -> None:
    """Raise WrongAnswer unless each poll is one request to the upstream."""
    ask.verify(contender.url)
    before = _served(upstream)
    for _ in range(_COUNTED):
        httpx.request(
            ask.method, contender.url + ask.path, headers=dict(ask.headers), content=ask.body, trust_env=False
        ).raise_for_status()
    # The count counts itself.
    calls = _served(upstream) - before - 1
    if calls != _COUNTED:
        raise WrongAnswer(f"{contender.label}: {_COUNTED} polls made {calls} requests to the upstream")


def _served(upstream: Program) -> int:
    """How many requests nginx has served so far (ngx_http_stub_status_module)."""
    text = httpx.get(f"{upstream.url}/counted", trust_env=False).text
    return int(text.splitlines()[2].split()[2])


def _versions() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        file = _HERE / "node_modules" / name / "package.json"
        found[name] = str(json.loads(file.read_text())["version"])
    names = "strawberry-graphql", "uvicorn", "aiohttp", "graphql-core"
    code = f"from importlib.metadata import version as v; print(*(v(n) for n in {names!r}))"
    told = said(str(_PYTHON), "-c", code).split()
    return {**found, **{f"{name} (strawberry's)": number for name, number in zip(names, told, strict=False)}}
