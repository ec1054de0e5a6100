"""A catalog of 22 MB, and many executions: right answers, while the event loop stays free for others."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.processes import ROOT
from tests.integration.harness import RULES, TENANT, Running, gateway_running
from tests.integration.large_noetl import PATHS, VERSIONS

pytestmark = pytest.mark.slow
MOST_SECONDS = 0.05
"""The longest that one request may hold up all others."""
TRIES = 6
FIELDS = "{ name description version variables }"
ALIASES = 5


@asynccontextmanager
async def before_large_server(folder: Path) -> AsyncIterator[tuple[Running, str]]:
    """A gateway in front of the large server, whose address is the second value."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.integration.large_noetl"),
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        url = f"http://127.0.0.1:{int(await process.stdout.readline())}"
        text = f"{TENANT}{RULES}graphql: {{limits: {{aliases: 20, root_fields: 20, cost: 100000}}}}\n"
        text += f"upstreams: {{noetl: {{urls: ['{url}']}}}}\n"
        async with gateway_running(folder, text) as gateway:
            yield gateway, url
    finally:
        process.terminate()
        await process.wait()


@asynccontextmanager
async def watched(stalls: list[float]) -> AsyncIterator[None]:
    """Add the longest time for which the event loop did nothing else, in seconds, to `stalls`."""
    longest = 0.0

    async def watch() -> None:
        nonlocal longest
        last = time.perf_counter()
        while True:
            await asyncio.sleep(0.001)
            now = time.perf_counter()
            longest, last = max(longest, now - last - 0.001), now

    task = asyncio.create_task(watch())
    await asyncio.sleep(0.01)
    try:
        yield
    finally:
        stalls.append(longest)
        task.cancel()


async def of_others() -> float:
    """Return the longest time that other processes take from an event loop that is idle, in seconds."""
    stalls: list[float] = []
    async with watched(stalls):
        await asyncio.sleep(1)
    return stalls[0]


async def asked(gateway: Running, query: str) -> dict[str, Any]:
    """Return the data of a document."""
    headers = await gateway.bearer()
    async with gateway.client.post(f"{gateway.url}/graphql", json={"query": query}, headers=headers) as response:
        answer = await response.json()
        assert "errors" not in answer, answer
        data: dict[str, Any] = answer["data"]
        return data


@pytest.mark.parametrize("dialect", ["python", "rust"])
async def test_catalog_of_22_mb_is_listed_without_a_stall(tmp_path: Path, dialect: str, show: Any) -> None:
    stalls: list[float] = []
    query = "{" + " ".join(f"p{n}: playbooks {FIELDS}" for n in range(ALIASES)) + "}"
    async with before_large_server(tmp_path) as (gateway, url):
        async with gateway.client.get(f"{url}/as/{dialect}") as response:
            assert response.status == 200
        for _ in range(TRIES):
            async with watched(stalls):
                data = await asked(gateway, query)
            if min(stalls) < MOST_SECONDS:
                break
        noise = await of_others()
    for found in data.values():
        assert [item["name"] for item in found] == sorted(f"team/flow_{n}" for n in range(PATHS))
        assert {item["version"] for item in found} == {VERSIONS}
    first = data["p0"][0]
    assert first["description"] == f"Flow 0 in version {VERSIONS}"
    assert first["variables"] == {"number": 0, "version": VERSIONS, "items": [1, 2, 3]}
    milliseconds = min(stalls) * 1000
    show(f"catalog of 22 MB, {dialect}: longest stall of the event loop {milliseconds:.0f} ms, try {len(stalls)}")
    assert min(stalls) < MOST_SECONDS + noise


async def test_execution_is_found_behind_1200_newer_ones_without_a_stall(tmp_path: Path, show: Any) -> None:
    stalls: list[float] = []
    async with before_large_server(tmp_path) as (gateway, _):
        for _ in range(TRIES):
            async with watched(stalls):
                data = await asked(gateway, '{ executions(path: "team/wanted", first: 1) { path } }')
            if min(stalls) < MOST_SECONDS:
                break
        noise = await of_others()
    assert data == {"executions": [{"path": "team/wanted"}]}
    show(f"execution behind 1,200 newer ones: longest stall of the event loop {min(stalls) * 1000:.0f} ms")
    assert min(stalls) < MOST_SECONDS + noise
