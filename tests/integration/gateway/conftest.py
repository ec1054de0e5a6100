"""A gateway for a test, started from YAML."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from proxy.config.compile import Compiled
from proxy.sessions.redis.connection import RedisSettings
from proxy.sessions.redis.store import RedisStore
from proxy.sessions.store import SessionStore
from tests.integration import harness
from tests.integration.harness import Running, Upstream, behind_gateway


@pytest.fixture(params=["memory", "redis"])
def each_store(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run each test with sessions in memory, and with sessions in Redis."""
    if request.param == "redis":
        settings: RedisSettings = request.getfixturevalue("redis_settings")

        def new_store(compiled: Compiled) -> SessionStore:
            idle = compiled.loaded.gateway.sessions.idle_timeout
            return RedisStore(replace(settings, idle_timeout=idle))

        monkeypatch.setattr(harness, "new_store", new_store)


@pytest.fixture
async def _gateway_and_upstream(
    request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncIterator[tuple[Running, Upstream]]:
    marker = request.node.get_closest_marker("gateway")
    async with behind_gateway(tmp_path, **(marker.kwargs if marker else {})) as running:
        yield running


@pytest.fixture
async def gateway(_gateway_and_upstream: tuple[Running, Upstream]) -> Running:
    """A gateway before a fresh upstream, which runs until the end of the test.

    `@pytest.mark.gateway(server=…, auth=…, more=…, rules=…)` changes its configuration, as in `behind_gateway`.
    """
    return _gateway_and_upstream[0]


@pytest.fixture
async def upstream(_gateway_and_upstream: tuple[Running, Upstream]) -> Upstream:
    """The upstream of `gateway`."""
    return _gateway_and_upstream[1]
