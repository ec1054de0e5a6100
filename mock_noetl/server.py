"""A sandbox server in either dialect, as a program for the HTTP server of both sandboxes."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from mock_noetl.python.app import PythonServer
from mock_noetl.rust.app import RustServer
from mock_noetl.state import Settings, State
from mock_server.clock import Clock
from mock_server.randomness import random_source
from mock_server.sandbox import Control, Sandbox

DIALECTS = ("python", "rust")
NoetlServer = PythonServer | RustServer


def build(
    dialect: str = "python",
    settings: Settings | None = None,
    clock: Clock | None = None,
    source: random.Random | None = None,
) -> NoetlServer:
    """Return a new sandbox. Raises PlaybookError or AccountsError for a file that can't be used."""
    state = State(dialect, settings or Settings(), clock or Clock(), source or random_source(None))
    return RustServer(state) if dialect == "rust" else PythonServer(state)


def start(server: NoetlServer, path: str, given: Mapping[str, Any] | None = None) -> str:
    """Start an execution past HTTP, for tests; return its id."""
    entry = server.state.catalog.find(path)
    if entry is None:
        raise LookupError(path)
    return str(server.state.engine.start(entry, given or {}).run_id)


@asynccontextmanager
async def serve(
    server: NoetlServer, host: str = "127.0.0.1", port: int = 0, control: Control | None = None
) -> AsyncIterator[Sandbox]:
    """Serve a sandbox until the context ends. Raises OSError if the address is not available."""
    sandbox = Sandbox(server, control or Control(), server.state.clock, server.state.source)
    await sandbox.start(host, port)
    try:
        yield sandbox
    finally:
        await sandbox.stop()
