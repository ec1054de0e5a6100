"""A cache of constant facts of a NoETL server, each of which is requested once."""

from __future__ import annotations

import asyncio

from proxy.bounded import BoundedCache

_CACHED = 20_000


class KnownFacts:
    """A cache of constant facts: the playbook of an execution, and the path of a catalog id.

    `lookups` are the current calls for the playbook of an execution, by its id.
    """

    __slots__ = ("catalog", "lookups", "paths")

    def __init__(self) -> None:
        self.paths: BoundedCache[str, str] = BoundedCache(_CACHED)
        self.catalog: BoundedCache[str, str] = BoundedCache(_CACHED)
        self.lookups: dict[str, asyncio.Task[str | None]] = {}

    def lookup_ended(self, execution_id: str, done: asyncio.Task[str | None]) -> None:
        """Remove a call that has ended."""
        self.lookups.pop(execution_id, None)
        if not done.cancelled():
            done.exception()  # each caller that waits has raised it
