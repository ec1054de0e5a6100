"""Which of the two NoETL servers has answered, found out from the shape of an answer. Pure.

Nothing is configured and nothing is assumed about later answers: the server behind an address may change.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any


class Dialect(StrEnum):
    """The API variant of a NoETL server."""

    PYTHON = "python"
    RUST = "rust"


_OF_RUST = ("progress", "is_cancelled", "started_at", "completed_at", "workload", "uptime_seconds", "database")
_OF_PYTHON = ("completed", "completion_inferred", "completed_steps", "start_time", "pagination", "duration_human")


def dialect_of(document: Any) -> Dialect | None:
    """Return the dialect of a status, a detail, an entry of the list of executions, a health response or an error.

    Returns None for a document that both servers, or neither, could have sent.
    """
    if not isinstance(document, Mapping):
        return None
    if "detail" in document:
        return Dialect.PYTHON
    if isinstance(document.get("error"), str) and isinstance(document.get("status"), int):
        return Dialect.RUST
    if any(name in document for name in _OF_PYTHON):
        return Dialect.PYTHON
    if any(name in document for name in _OF_RUST):
        return Dialect.RUST
    return Dialect.PYTHON if document == {"status": "ok"} else None
