"""The event loop of the sandboxes: uvloop where it is installed, else that of the standard library."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

try:
    import uvloop
except ImportError:  # Windows, PyPy
    uvloop = None  # type: ignore[assignment]


def new_loop() -> asyncio.AbstractEventLoop:
    """Return a new event loop."""
    return uvloop.new_event_loop() if uvloop is not None else asyncio.new_event_loop()


def run(work: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine until it ends."""
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(work)
