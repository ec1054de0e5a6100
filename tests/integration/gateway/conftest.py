"""A gateway for a test, started from YAML."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.harness import Running, Upstream, behind_gateway


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
