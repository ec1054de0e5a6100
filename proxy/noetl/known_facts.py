"""A cache of facts about a NoETL server that never change, each of which is requested once."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from proxy.bounded import BoundedCache
from proxy.http.json import read_json
from proxy.noetl.dialect import Dialect, dialect_of, release_of
from proxy.noetl.executions import ExecutionState
from proxy.noetl.listings import About

_CACHED = 20_000
_ENTRIES = 4096
_EXECUTIONS = 4096
_AT_ONCE = 2
_MAX_BYTES = 8 * 1024**2


ForUser = tuple[str, bytes]
"""The id of an execution, and the identity of the user to whom the server has answered."""


class CatalogVersions:
    """The versions of catalog ids, which never change; 0 for an id that does not exist. Safe in threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._versions: BoundedCache[str, int] = BoundedCache(_CACHED)

    def of(self, catalog_id: str) -> int | None:
        """Return the version of a catalog id; None if it is not in the cache."""
        with self._lock:
            return self._versions[catalog_id]

    def put(self, catalog_id: str, version: int) -> None:
        """Keep the version of a catalog id."""
        with self._lock:
            self._versions.put(catalog_id, version)


class KnownFacts:
    """A cache of constant facts, and of what the last poll of a running execution has shown.

    `paths` are the playbooks of executions, `catalog` the paths and `versions` the versions of catalog ids, and
    `contents` what contents of playbooks say. `ended` are the states of executions that have ended. Of running ones,
    `steps` are the completed steps in their order, and `polled` the states with a mark that differs once more has
    happened; each for one user. `calls` are the current calls that several requests may wait for, by their subject.
    `dialect` is that of the last response that shows it; `dialect_requested`: a request was sent to find it. `release`
    is that of the last health response, empty if that names none. `large` bounds how many lists of the catalog are
    read at once.
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
        "release",
        "steps",
        "versions",
    )

    def __init__(self) -> None:
        self.paths: BoundedCache[str, str] = BoundedCache(_CACHED)
        self.catalog: BoundedCache[str, str] = BoundedCache(_CACHED)
        self.versions = CatalogVersions()
        self.contents: BoundedCache[str, About] = BoundedCache(_ENTRIES, _MAX_BYTES)
        self.ended: BoundedCache[ForUser, ExecutionState] = BoundedCache(_EXECUTIONS, _MAX_BYTES)
        self.polled: BoundedCache[ForUser, tuple[str, ExecutionState]] = BoundedCache(_EXECUTIONS, _MAX_BYTES)
        self.steps: BoundedCache[ForUser, tuple[str, ...]] = BoundedCache(_EXECUTIONS, _MAX_BYTES)
        self.calls: dict[object, asyncio.Task[Any]] = {}
        self.dialect: Dialect | None = None
        self.dialect_requested = False
        self.release = ""
        self.large = asyncio.Semaphore(_AT_ONCE)

    def note_health(self, data: bytes) -> None:
        """Note the dialect and the release of the server from its response to `GET /api/health`."""
        try:
            document = read_json(data)
        except (ValueError, RecursionError):
            return
        found = dialect_of(document)
        if found is not None:
            self.dialect, self.release = found, release_of(document)

    def call_ended(self, key: object, done: asyncio.Task[Any]) -> None:
        """Remove a call that has ended."""
        self.calls.pop(key, None)
        if not done.cancelled():
            done.exception()  # each caller that waits has raised it
