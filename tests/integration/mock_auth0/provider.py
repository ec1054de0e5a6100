"""A running provider for tests, and clients that talk to it and keep their cookies."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from mock_auth0.keys import SigningKey
from mock_auth0.server import Server
from mock_auth0.settings import TenantFile
from mock_auth0.settings_file import DEFAULT_FILE, load_file

CALLBACK = "http://localhost:3000/callback"


def settings_of(folder: Path, text: str) -> TenantFile:
    """Return the settings of a file with this text."""
    file = folder / "tenant.yaml"
    file.write_text(text)
    return load_file(file)


@functools.cache
def first_key() -> SigningKey:
    """Return a key for all providers of this process, as to generate one takes a while."""
    return SigningKey.generate()


@asynccontextmanager
async def running(settings: TenantFile | None = None, **options: Any) -> AsyncIterator[Server]:
    """A provider on a free port, with a key that other providers have too, unless it has a seed."""
    key = None if "seed" in options else first_key()
    server = Server(settings or load_file(DEFAULT_FILE), key=key, **options)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


@asynccontextmanager
async def client_of(server: Server, **options: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a provider, which follows no redirects."""
    url = server.url.replace("localhost", "127.0.0.1")
    async with httpx.AsyncClient(base_url=url, trust_env=False, **options) as client:
        yield client


@asynccontextmanager
async def provider(settings: TenantFile | None = None, **options: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A provider on a free port, and a client of it."""
    async with running(settings, **options) as server, client_of(server) as client:
        yield client
