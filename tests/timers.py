"""The timers that a test's event loop holds, by the public interface of event loops."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest


class Timers:
    """The timers that were started since then and have neither run nor been cancelled."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._started: dict[asyncio.TimerHandle, Callable[..., object]] = {}
        loop = asyncio.get_running_loop()
        start = loop.call_later

        def call_later(
            delay: float, callback: Callable[..., object], *args: Any, context: Any = None
        ) -> asyncio.TimerHandle:
            def run() -> None:
                del self._started[handle]
                callback(*args)

            handle = start(delay, run, context=context)
            self._started[handle] = callback
            return handle

        monkeypatch.setattr(loop, "call_later", call_later)

    def of(self, owner: object) -> int:
        """The number of timers that call a method of an object."""
        pending = (callback for handle, callback in self._started.items() if not handle.cancelled())
        return sum(getattr(callback, "__self__", None) is owner for callback in pending)
