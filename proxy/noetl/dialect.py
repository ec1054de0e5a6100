"""Which of the two NoETL servers has answered, found out from the shape of an answer. Pure.

Nothing is configured and nothing is assumed about later answers: the server behind an address may change.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Any


class Dialect(StrEnum):
    """The API variant of a NoETL server."""

    PYTHON = "python"
    RUST = "rust"


_OF_PYTHON = frozenset(
    {"completed", "completion_inferred", "completed_steps", "start_time", "pagination", "duration_human", "detail"}
)
_OF_RUST = frozenset(
    {"progress", "is_cancelled", "started_at", "completed_at", "workload", "uptime_seconds", "database"}
)


_RELEASE = re.compile(r"[0-9A-Za-z.+_-]{1,64}")


def release_of(health: Any) -> str:
    """Return the release that a health response names, as only the Rust server's does; empty if it names none."""
    release = health.get("version") if isinstance(health, Mapping) else None
    return release if isinstance(release, str) and _RELEASE.fullmatch(release) else ""


def dialect_of(document: Any) -> Dialect | None:
    """Return the dialect of a status, a detail, an entry of the list of executions, a health response or an error.

    Returns None for a document that both servers, or neither, could have sent.
    """
    if not isinstance(document, Mapping):
        return None
    if not _OF_PYTHON.isdisjoint(document):
        return Dialect.PYTHON
    if not _OF_RUST.isdisjoint(document):
        return Dialect.RUST
    if isinstance(document.get("error"), str) and isinstance(document.get("status"), int):
        return Dialect.RUST
    return Dialect.PYTHON if document == {"status": "ok"} else None
