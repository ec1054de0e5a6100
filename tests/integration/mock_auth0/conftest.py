"""A running provider on a free port, and a client that talks to it and keeps its cookies."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from mock_auth0.server import Server
from mock_auth0.users import DEFAULT_FILE, load


@pytest.fixture
async def tenant() -> AsyncIterator[httpx.AsyncClient]:
    server = Server(load(DEFAULT_FILE))
    await server.start()
    async with httpx.AsyncClient(base_url=server.url.replace("localhost", "127.0.0.1"), trust_env=False) as client:
        yield client
    await server.stop()
