"""Background tasks: log their errors, and restart periodic work after an error."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from proxy.observe.logs import get_logger, place_of

_PAUSE_SECONDS = 1.0


async def logged(work: Coroutine[Any, Any, object]) -> None:
    """Await `work`. Log an error without its text, which may contain a value of the configuration."""
    try:
        await work
    except Exception as error:
        get_logger().error("task.failed", reason=place_of(error))


async def repeated(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run endless work until cancelled; start it again after an error."""
    while True:
        await logged(work())
        await asyncio.sleep(_PAUSE_SECONDS)
