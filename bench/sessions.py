"""What many stored sessions cost: the time to start with them, and the time of a request that looks one up.

The only module that uses the gateway's own code, to store 100,000 sessions without as many logins.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from pathlib import Path

from bench import report, requests, wrk
from bench.contenders import gateway, testbed
from bench.programs import Program, say, two_cores
from bench.scenarios import SignedIn, me
from bench.stats import Spread
from proxy.http.credentials import key_of
from proxy.sessions.file import FileStore
from proxy.sessions.store import Identity, new_session, new_token

FEW, GOAL_SECONDS, GOAL_RATIO = 10, 2.0, 1.5
_BATCH, _STARTS, _ROUNDS, _CHOSEN = 5000, 3, 7, 20_000


def run(count: int) -> str:
    """Measure with few sessions and with `count`, and return the report. Raises BenchError."""
    core, other = two_cores()
    with testbed(core, other) as running:
        programs, files, starts = [], [], []
        costs: list[list[float]] = [[], []]
        for number in (FEW, count):
            say(f"storing {number} sessions")
            store = running.folder / f"sessions-{number}"
            tokens = asyncio.run(_fill(store, number))
            provider = running.identity_provider.port
            program = gateway(running.folder, core, running.upstream.url, provider, sessions=store)
            starts.append([_start(program) for _ in range(_STARTS)])
            chosen = [me(SignedIn([token])) for token in random.choices(tokens, k=_CHOSEN)]
            files.append(requests.write(chosen, "127.0.0.1", running.folder / f"{number}.requests"))
            programs.append(running.run(program))
        for _ in range(_ROUNDS):
            for program, file, cost in zip(programs, files, costs, strict=True):
                cost.append(_cost(program, file, other))
    return table((FEW, count), starts, costs)


async def _fill(folder: Path, count: int) -> list[str]:
    """Store sessions of as many users; return their tokens."""
    store, tokens = FileStore(folder), [new_token() for _ in range(count)]
    for begin in range(0, count, _BATCH):
        part = enumerate(tokens[begin : begin + _BATCH], begin)
        await asyncio.gather(*(_store(store, token, number) for number, token in part))
    await store.close()
    return tokens


async def _store(store: FileStore, token: str, number: int) -> None:
    claims = {"https://noetl.io/roles": ["analyst"], "email_verified": True}
    name, key = f"user{number}@example.com", key_of(token)
    assert key is not None
    who = Identity("https://tenant.test/", f"auth0|{number}", name, name, "tenant.test", claims, f"{number}")
    session = new_session(key, who, now=time.time(), lifetime=86400, ip="192.0.2.1", user_agent="bench")
    await store.create(key, session, max_per_user=0)


def _start(program: Program) -> float:
    begun = time.perf_counter()
    program.start()
    seconds = time.perf_counter() - begun
    program.stop()
    return seconds


def _cost(program: Program, file: Path, cores: int) -> float:
    """Return the CPU time of a request in microseconds."""
    before = program.cpu_seconds()
    load = wrk.run(program, file, seconds=1, connections=32, cores=cores)
    return (program.cpu_seconds() - before) / load.requests * 1e6


def table(counts: Sequence[int], starts: Sequence[Sequence[float]], costs: Sequence[Sequence[float]]) -> str:
    """Return the report."""
    rows = [
        [f"{count} sessions", str(Spread.of(own)), str(Spread.of(cost))]
        for count, own, cost in zip(counts, starts, costs, strict=True)
    ]
    slowest, ratio = max(starts[-1]), Spread.of(costs[-1]).median / Spread.of(costs[0]).median
    lines = [
        f"start: {slowest:.2f} s, goal < {GOAL_SECONDS:g} s: {report.met(slowest < GOAL_SECONDS)} (from the command "
        "until /health responds)",
        f"request: {ratio:.2f} times, goal < {GOAL_RATIO:g}: {report.met(ratio < GOAL_RATIO)} (GET /api/auth/me with "
        "random sessions)",
    ]
    return f"{report.grid(['', 'starts (s)', 'CPU us/request'], rows)}\n\n{report.bullets(lines)}"
