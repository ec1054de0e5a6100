"""The dialect of a server, from the shape of its answers."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.noetl.dialect import Dialect, dialect_of

PYTHON, RUST = Dialect.PYTHON, Dialect.RUST


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"status": "ok"}, PYTHON),
        ({"status": "ok", "database": "connected", "uptime_seconds": 1, "version": "3.54.0"}, RUST),
        ({"execution_id": "1", "completed": True, "failed": False, "completed_steps": []}, PYTHON),
        ({"execution_id": 1, "status": "RUNNING", "progress": {}, "is_cancelled": False}, RUST),
        ({"execution_id": "1", "status": "COMPLETED", "start_time": "t", "pagination": {}}, PYTHON),
        ({"execution_id": 1, "status": "COMPLETED", "started_at": "t", "workload": {}}, RUST),
        ({"detail": "Execution not found"}, PYTHON),
        ({"error": "Execution not found: 1", "status": 404}, RUST),
        ({"path": "a", "status": "RUNNING"}, None),
        ([], None),
        (None, None),
    ],
)
def test_dialect_is_that_of_the_server_that_sends_this(document: Any, expected: Dialect | None) -> None:
    assert dialect_of(document) is expected
