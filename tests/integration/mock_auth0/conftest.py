"""A running provider on a free port, and a client that talks to it and keeps its cookies."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from mock_auth0.server import Server
from tests.integration.mock_auth0.provider import client_of, running


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with running() as started:
        yield started


@pytest.fixture
async def tenant(server: Server) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(server) as client:
        yield client
