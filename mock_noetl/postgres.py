"""A substitute for the database behind the SQL endpoint: SQLite in memory, with limits on time and size.

It never opens a file. The errors that clients most often see are spelled as PostgreSQL does; SQL that SQLite does not
know, and types that it does not have, are errors or come out differently: see docs/mock-noetl.md.
"""

from __future__ import annotations

import re
import sqlite3
import threading
import time
from dataclasses import dataclass, field
from typing import Any

from mock_noetl.values import plain

MAX_ROWS = 10_000
MAX_SECONDS = 2.0
MAX_VALUE = 1_000_000

_DENIED = (sqlite3.SQLITE_ATTACH, sqlite3.SQLITE_DETACH, sqlite3.SQLITE_PRAGMA)
_CAST = re.compile(r"('(?:[^']|'')*')|::\s*[a-z_][a-z0-9_]*(?:\(\d+\))?(?:\[\])?", re.IGNORECASE)
_TRUTH = re.compile(r"('(?:[^']|'')*')|\b(true|false)\b(\s+as\s+)(\"[^\"]+\"|[a-z_][a-z0-9_]*)", re.IGNORECASE)
_COMMENT = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)
_NOT_FIRST = re.compile(r"(?:select|insert|update|delete|with|create|drop|alter|values|begin|commit|explain)\b", re.I)
_TOKEN = re.compile(r"\"[^\"]*\"|'[^']*'|[\w$]+|\S")
_NAME = re.compile(r"\"[^\"]+\"|'[^']*'|[\w$]+")
MAX_SHOWN = 60
MIN_RIGHT = 10
_ERRORS = (
    (re.compile(r'near "([^"]*)": syntax error'), 'syntax error at or near "{}"'),
    (re.compile(r"no such column: (.*)"), 'column "{}" does not exist'),
    (re.compile(r"no such table: (.*)"), 'relation "{}" does not exist'),
    (re.compile(r"no such function: (.*)"), "function {}() does not exist"),
    (re.compile(r'unrecognized token: "(\'.*)"', re.DOTALL), 'unterminated quoted string at or near "{}"'),
    (re.compile(r"incomplete input()"), "syntax error at end of input"),
)


@dataclass(frozen=True, slots=True)
class SqlError:
    """An error. `word` is what of the query it is about."""

    text: str
    query: str = ""
    word: str = ""

    def explained(self) -> str:
        """Return the text with the line of the query and a mark, as PostgreSQL's client shows it."""
        place = self.query.find(self.word) if self.word else -1
        if place < 0:
            return self.text
        line = self.query.count("\n", 0, place)
        start = self.query.rfind("\n", 0, place) + 1
        shown, mark = _cut(self.query[start:].partition("\n")[0], place - start)
        head = f"LINE {line + 1}: "
        return f"{self.text}\n{head}{shown}\n{' ' * (len(head) + mark)}^"


def _cut(line: str, mark: int) -> tuple[str, int]:
    """Return as much of a line as the client shows, and where the mark is in it."""
    begin, end = 0, len(line)
    if end > MAX_SHOWN:
        end = MAX_SHOWN if mark + MIN_RIGHT <= MAX_SHOWN else min(end, mark + MIN_RIGHT)
        begin = max(0, end - MAX_SHOWN)
    before = "..." if begin else ""
    return f"{before}{line[begin:end]}{'...' if end < len(line) else ''}", len(before) + mark - begin


@dataclass(frozen=True, slots=True)
class Found:
    """The result of a query: rows, None for what returns none, or an error; `several`: it has several statements."""

    rows: list[dict[str, Any]] | None = None
    error: SqlError | None = None
    several: bool = field(default=False)


class Database:
    """An in-memory database; `execute` may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
        self._connection.execute("PRAGMA max_page_count = 16384")
        self._connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_VALUE)
        self._connection.set_authorizer(_authorize)

    def execute(self, query: str) -> Found:
        """Run a query. Of several statements, all are run, and the rows of the first one returned."""
        statements = [text for text in _statements(query) if _COMMENT.sub("", text).strip()]
        if not statements:
            return Found()
        first: Found | None = None
        with self._lock:
            for statement in statements:
                found = self._one(statement)
                if found.error is not None:
                    return found
                first = first or found
        assert first is not None  # noqa: S101 - there is a statement
        return Found(first.rows, several=len(statements) > 1)

    def _one(self, query: str) -> Found:
        if not _NOT_FIRST.match(query.lstrip()):
            word = re.match(r"\w+|\S", query.lstrip())
            text = word[0] if word else ""
            return Found(error=SqlError(f'syntax error at or near "{text}"', query, text))
        known, truths = _translated(query)
        deadline = time.monotonic() + MAX_SECONDS
        self._connection.set_progress_handler(lambda: time.monotonic() > deadline, 1000)
        try:
            cursor = self._connection.execute(known)
            if cursor.description is None:
                return Found()
            names = [_column(column[0]) for column in cursor.description]
            rows = [
                {name: _cell(value, name in truths) for name, value in zip(names, row, strict=True)}
                for row in cursor.fetchmany(MAX_ROWS)
            ]
            return Found(plain(rows))
        except (sqlite3.Error, sqlite3.Warning, ValueError) as error:
            return Found(error=_error(str(error), query))

    def close(self) -> None:
        """Close the database."""
        with self._lock:
            self._connection.close()


def schema_error(schema: str | None) -> str | None:
    """Return why `SET search_path TO` a schema is refused; None if it is not."""
    if schema is None:
        return None
    problem = null_error(schema)
    if problem is not None:
        return problem
    parts = _TOKEN.findall(schema)
    for number, part in enumerate(parts):
        if (part == ",") != bool(number % 2) or not (_NAME.fullmatch(part) or part == ","):
            word = parts[number + 1] if part == ";" and number + 1 < len(parts) else part
            return f'syntax error at or near "{word}"' if word != ";" else None
    return None if len(parts) % 2 else "syntax error at end of input"


def null_error(query: str) -> str | None:
    """Return why a query with a null character is refused by the protocol; None if it has none."""
    if "\0" not in query:
        return None
    rest = query.encode().partition(b"\0")[2] + b"\0\0\0"
    short = len(rest) - 2 < 4 * int.from_bytes(rest[:2])
    return "insufficient data left in message" if short else "invalid message format"


def _statements(query: str) -> list[str]:
    """Return the statements of a query."""
    found: list[str] = []
    rest = query
    while rest:
        place = -1
        while True:
            place = rest.find(";", place + 1)
            if place < 0:
                return [*found, rest]
            if sqlite3.complete_statement(rest[: place + 1]) or not rest[:place].strip():
                break
        found.append(rest[:place])
        rest = rest[place + 1 :]
    return found


def _translated(query: str) -> tuple[str, set[str]]:
    """Return a query without casts, and the columns that are true or false."""
    truths = {match[4].strip('"') for match in _TRUTH.finditer(query) if match[2]}
    return _CAST.sub(lambda match: match[1] or "", query), truths


def _column(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_$]*", name) else "?column?"


def _error(text: str, query: str) -> SqlError:
    for pattern, replacement in _ERRORS:
        match = pattern.search(text)
        if match is not None:
            return SqlError(replacement.format(match[1]), query, match[1])
    return SqlError(text, query)


def _authorize(action: int, *_: Any) -> int:
    return sqlite3.SQLITE_DENY if action in _DENIED else sqlite3.SQLITE_OK


def _cell(value: Any, is_truth: bool) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    return bool(value) if is_truth and value in (0, 1) else value
