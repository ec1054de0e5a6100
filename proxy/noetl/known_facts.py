"""A cache of facts about a NoETL server that never change, each of which is requested once."""

from __future__ import annotations

import asyncio
from typing import Any

from proxy.bounded import BoundedCache
from proxy.noetl.dialect import Dialect
from proxy.noetl.executions import ExecutionState
from proxy.noetl.listings import About

_CACHED = 20_000
_ENTRIES = 4096
_EXECUTIONS = 4096
_AT_ONCE = 2
_MAX_BYTES = 8 * 1024**2


ForUser = tuple[str, bytes]
"""The id of an execution, and the identity of the user to whom the server has answered."""


class KnownFacts:
    """A cache of constant facts, and of what the last poll of a running execution has shown.

    `paths` are the playbooks of executions, `catalog` the paths of catalog ids, and `contents` what contents of
    playbooks say. `ended` are the states of executions that have ended. Of running ones, `steps` are the completed
    steps in their order, and `polled` the states with a mark that differs once more has happened; each for one user.
    `calls` are the current calls that several requests may wait for, by their subject. `dialect` is that of the last
    response that shows it; `dialect_requested`: a request was sent to find it. `large` bounds how many lists of the
    catalog are read at once.
    """

    __slots__ = (
        "calls",
        "catalog",
        "contents",
        "dialect",
        "dialect_requested",
        "ended",
        "large",
        "paths",
        "polled",
        "steps",
    )

    def __init__(self) -> None:
        self.paths: BoundedCache[str, str] = BoundedCache(_CACHED)
        self.catalog: BoundedCache[str, str] = BoundedCache(_CACHED)
        self.contents: BoundedCache[str, About] = BoundedCache(_ENTRIES, _MAX_BYTES)
        self.ended: BoundedCache[ForUser, ExecutionState] = BoundedCache(_EXECUTIONS, _MAX_BYTES)
        self.polled: BoundedCache[ForUser, tuple[str, ExecutionState]] = BoundedCache(_EXECUTIONS, _MAX_BYTES)
        self.steps: BoundedCache[ForUser, tuple[str, ...]] = BoundedCache(_EXECUTIONS, _MAX_BYTES)
        self.calls: dict[object, asyncio.Task[Any]] = {}
        self.dialect: Dialect | None = None
        self.dialect_requested = False
        self.large = asyncio.Semaphore(_AT_ONCE)

    def call_ended(self, key: object, done: asyncio.Task[Any]) -> None:
        """Remove a call that has ended."""
        self.calls.pop(key, None)
        if not done.cancelled():
            done.exception()  # each caller that waits has raised it
