"""Work beside the requests: its errors are logged, and what repeats goes on after one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from proxy.observe.logs import get_logger, place_of

_PAUSE_SECONDS = 1.0


async def logged(work: Coroutine[Any, Any, object]) -> None:
    """Do some work; an error is logged without its text, which may hold a value of the configuration."""
    try:
        await work
    except Exception as error:
        get_logger().error("task.failed", reason=place_of(error))


async def repeated(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Do work that goes on until it is cancelled; after an error, do it again."""
    while True:
        await logged(work())
        await asyncio.sleep(_PAUSE_SECONDS)
