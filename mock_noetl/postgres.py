"""A substitute for the database endpoint: SQLite in memory, with limits on time and size.

It never opens a file: attaching databases and loading extensions are rejected.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from typing import Any

from mock_noetl.values import plain

MAX_ROWS = 10_000
MAX_SECONDS = 2.0
MAX_VALUE = 1_000_000

_DENIED = (sqlite3.SQLITE_ATTACH, sqlite3.SQLITE_DETACH, sqlite3.SQLITE_PRAGMA)


class Database:
    """An in-memory database; `execute` may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
        self._connection.execute("PRAGMA max_page_count = 16384")
        self._connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_VALUE)
        self._connection.set_authorizer(_authorize)
        self._connection.row_factory = sqlite3.Row

    def execute(self, query: str) -> dict[str, Any]:
        """Run one statement. Rows are objects by column name; an error is returned as a result."""
        with self._lock:
            deadline = time.monotonic() + MAX_SECONDS
            self._connection.set_progress_handler(lambda: time.monotonic() > deadline, 1000)
            try:
                rows = self._connection.execute(query).fetchmany(MAX_ROWS)
                result = [plain({key: _cell(row[key]) for key in row.keys()}) for row in rows]  # noqa: SIM118
            except (sqlite3.Error, sqlite3.Warning, ValueError) as error:
                return {"status": "error", "result": None, "error": str(error)}
            return {"status": "ok", "result": result, "error": None}

    def close(self) -> None:
        with self._lock:
            self._connection.close()


def _authorize(action: int, *_: Any) -> int:
    return sqlite3.SQLITE_DENY if action in _DENIED else sqlite3.SQLITE_OK


def _cell(value: Any) -> Any:
    return value.hex() if isinstance(value, bytes) else value
