"""What many stored sessions cost: the time to start with them, and the time to look one up.

A lookup is timed by itself, in a store opened here, and as a client sees it: a request that is answered from the
session alone, on one connection, one after the other.
"""

from __future__ import annotations

import asyncio
import http.client
import random
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.programs import BenchError, Program, two_cores
from bench.report import bullets, columns
from bench.run import programs, say
from bench.servers import gateway, mock_auth0
from proxy.http.credentials import key_of
from proxy.sessions.file import FileStore
from proxy.sessions.store import Identity, new_session, new_token

FEW = 10
GOAL_SECONDS, GOAL_RATIO = 2.0, 1.5
_BATCH = 5000
_STARTS, _ROUNDS, _REQUESTS = 3, 7, 2000
_LOOKUPS = 20_000


@dataclass(frozen=True, slots=True)
class Finding:
    """A store of `count` sessions. Seconds; those of a lookup and a request are by round."""

    count: int
    size: int
    starts: tuple[float, ...]
    first: float
    again: float
    requests: tuple[float, ...]


def run(count: int) -> str:
    """Measure with few sessions and with `count`. Raises BenchError."""
    core, other = two_cores()
    with programs(core, other) as field:
        folder = field.folder
        auth0 = mock_auth0(folder, other)  # named in the configuration, and not needed
        stores = []
        for number in (FEW, count):
            say(f"storing {number} sessions")
            tokens = asyncio.run(_fill(folder / str(number), number))
            program = gateway(folder, core, auth0, auth0)
            program.environment = {**program.environment, "NOETL_EDGE_SESSIONS": str(folder / str(number))}
            stores.append((program, tokens))
        starts = [tuple(_start(program) for _ in range(_STARTS)) for program, _ in stores]
        for program, _ in stores:
            field.run(program)
        rounds = [_round(stores, number) for number in range(_ROUNDS)]
        found = []
        for at, (_, tokens) in enumerate(stores):
            place = folder / str(len(tokens))
            first, again = asyncio.run(_lookups(place, tokens))
            size = (place / "data.mdb").stat().st_size
            found.append(Finding(len(tokens), size, starts[at], first, again, tuple(one[at] for one in rounds)))
    return report(*found)


async def _fill(folder: Path, count: int) -> list[str]:
    """Sessions of as many users; their tokens."""
    store, tokens = FileStore(folder), [new_token() for _ in range(count)]
    for begin in range(0, count, _BATCH):
        part = enumerate(tokens[begin : begin + _BATCH], begin)
        await asyncio.gather(*(_add(store, token, number) for number, token in part))
    await store.close()
    return tokens


async def _add(store: FileStore, token: str, number: int) -> None:
    claims = {"https://noetl.io/roles": ["analyst"], "email_verified": True}
    email = f"user{number}@example.com"
    who = Identity(
        "https://tenant.test/", f"auth0|{number}", email, f"User {number}", "tenant.test", claims, f"{number}"
    )
    agent = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
    session = new_session(_key(token), who, now=time.time(), lifetime=86400, ip="192.0.2.1", user_agent=agent)
    await store.create(_key(token), session, max_per_user=0)


def _key(token: str) -> bytes:
    key = key_of(token)
    if key is None:
        raise BenchError("a new token is none")
    return key


def _start(program: Program) -> float:
    begun = time.perf_counter()
    program.start()
    seconds = time.perf_counter() - begun
    program.stop()
    return seconds


def _round(stores: Sequence[tuple[Program, list[str]]], number: int) -> list[float]:
    """Seconds for a request at each gateway, one after the other."""
    found = [_requests(program, tokens) for program, tokens in stores]
    say(f"round {number + 1}/{_ROUNDS}: " + ", ".join(f"{seconds * 1e6:.0f} us" for seconds in found))
    return found


def _requests(program: Program, tokens: Sequence[str]) -> float:
    connection = http.client.HTTPConnection("127.0.0.1", program.port, timeout=10)
    chosen = random.choices(tokens, k=_REQUESTS)
    begun = time.perf_counter()
    for token in chosen:
        connection.request("GET", "/api/auth/me", headers={"authorization": f"Bearer {token}"})
        answer = connection.getresponse()
        answer.read()
        if answer.status != 200:
            raise BenchError(f"the gateway answered {answer.status}\n{program.tail()}")
    seconds = time.perf_counter() - begun
    connection.close()
    return seconds / _REQUESTS


async def _lookups(folder: Path, tokens: Sequence[str]) -> tuple[float, float]:
    """Seconds for the first lookup of a session in a store, and for another of one that was used just before."""
    keys = [_key(token) for token in tokens]
    random.shuffle(keys)
    first: list[float] = []
    again = 0.0
    while len(first) < _LOOKUPS // FEW:
        store = FileStore(folder)
        for begin in range(0, min(len(keys), _LOOKUPS), FEW):
            some = keys[begin : begin + FEW]
            first.append(_timed(store, some))
        again = _timed(store, keys[:FEW] * 1000)
        await store.close()
    return statistics.median(first), again


def _timed(store: FileStore, keys: Sequence[bytes]) -> float:
    begun = time.perf_counter()
    for key in keys:
        store.peek(key)
    return (time.perf_counter() - begun) / len(keys)


def report(few: Finding, many: Finding) -> str:
    """What they cost, and whether it keeps the promise."""
    starts = [["", "file", f"starts (s), goal: < {GOAL_SECONDS:g} s"]]
    for one in (few, many):
        told = ", ".join(f"{seconds:.2f}" for seconds in one.starts)
        verdict = "met" if max(one.starts) < GOAL_SECONDS else "not met"
        starts.append([f"{one.count} sessions", f"{one.size / 2**20:.1f} MiB", f"{told}: {verdict}"])
    rows = [["lookup of", f"{few.count} sessions", f"{many.count} sessions", "ratio", f"goal: < {GOAL_RATIO:g}"]]
    for name, fewer, more in (
        ("a session that was not looked up before", few.first, many.first),
        ("a session that was used just before", few.again, many.again),
        ("a random session, in a request", statistics.median(few.requests), statistics.median(many.requests)),
    ):
        ratio = more / fewer
        verdict = "met" if ratio < GOAL_RATIO else "not met"
        rows.append([name, f"{fewer * 1e6:.2f} us", f"{more * 1e6:.2f} us", f"{ratio:.2f}", verdict])
    how = (
        "a start is from the command until /health answers, Python's own start included",
        f"a request is GET /api/auth/me on one connection, one after the other: the median of {_ROUNDS} rounds of "
        f"{_REQUESTS}, the gateways in turn",
        "what was looked up is kept decoded, 20,000 sessions of them: with few sessions a random one nearly always is, "
        "with many it seldom is. Whoever compares that, a lookup by itself, finds the first column of the second row "
        "beside the second column of the first",
    )
    return "\n\n".join((columns(starts), columns(rows), bullets(how)))
