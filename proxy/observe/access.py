"""The access log: one line per request, without tokens. JSON lines are collected and written together."""

from __future__ import annotations

import asyncio
import json
import time
from typing import NamedTuple, Protocol

_FLUSH_AFTER = 0.2
_MAX_PARTS = 1000
_AT_ONCE = 16
_FLUSH_SIZE = 64 * 1024
_quoted = json.encoder.encode_basestring_ascii


class AccessLine(NamedTuple):
    """What is logged about a request. Times are in milliseconds; `route` is the pattern, `path` has no secret in its
    query; `denied`: the access rules, or the binding of a session, refused something."""

    method: str
    path: str
    route: str | None
    status: int
    ms: float
    upstream_ms: float
    user_id: int | None
    ip: str
    request_id: str
    detail: str = ""
    denied: bool = False


class AccessLog(Protocol):
    """A destination of access lines."""

    def write(self, line: AccessLine) -> None:
        """Write the line of a request."""

    def flush(self) -> None:
        """Write the lines that are collected."""


class Sink(Protocol):
    """A destination of text."""

    def write(self, text: str) -> int:
        """Write some text."""

    def flush(self) -> None:
        """Flush what was written."""


_COLOURS = {2: "32", 3: "36", 4: "33", 5: "31"}
"""By the first digit of a status: green, cyan, yellow, red (ECMA-48, 8.3.117)."""


class ConsoleAccessLog:
    """An access log for people: `12:30:01 GET /noetl/health 200 2.4ms user=1 ip=127.0.0.1 id=…`, written at once."""

    def __init__(self, stream: Sink, *, coloured: bool = False) -> None:
        self._stream = stream
        self._coloured = coloured

    def write(self, line: AccessLine) -> None:
        status = str(line.status)
        if self._coloured:
            status = f"\x1b[{_COLOURS.get(line.status // 100, '0')}m{status}\x1b[0m"
        user = "" if line.user_id is None else f" user={line.user_id}"
        upstream = f" upstream={line.upstream_ms:.1f}ms" if line.upstream_ms else ""
        detail = f" {_printable(line.detail)}" if line.detail else ""
        now = time.strftime("%H:%M:%S", time.gmtime())
        request = f"{line.method} {_printable(line.path) or '-'}"
        ending = f"{user} ip={line.ip} id={line.request_id}{detail}"
        self._stream.write(f"{now} {request} {status} {line.ms:.1f}ms{upstream}{ending}\n")
        self._stream.flush()

    def flush(self) -> None:
        """Return: nothing is collected."""


def _printable(text: str) -> str:
    """Return a text without control characters, which could forge a line."""
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")


class JsonAccessLog:
    """An access log in JSON, one object per line; lines are collected for at most a fifth of a second."""

    def __init__(self, stream: Sink) -> None:
        self._stream = stream
        self._lines: list[tuple[float, AccessLine]] = []
        self._texts: list[str] = []
        self._size = 0
        self._timer: asyncio.TimerHandle | None = None
        self._second = 0
        self._prefix = ""
        self._parts: dict[tuple[str, str | None], tuple[str, str]] = {}

    def write(self, line: AccessLine) -> None:
        self._lines.append((time.time(), line))
        if len(self._lines) >= _AT_ONCE:
            self._format()
            if self._size >= _FLUSH_SIZE:
                self.flush()
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_FLUSH_AFTER, self.flush)

    def _format(self) -> None:
        """Make the text of a few lines: fewer would cost more each, and more would make a request wait."""
        lines, self._lines = self._lines, []
        text = "".join([self._text(now, line) for now, line in lines])
        self._texts.append(text)
        self._size += len(text)

    def _text(self, now: float, line: AccessLine) -> str:
        """Return the text of a line that was written at `now`."""
        method, path, route, status, ms, upstream_ms, user_id, ip, request_id, detail, _ = line
        second = int(now)
        if second != self._second:
            self._second = second
            stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
            self._prefix = f'{{"event": "request", "level": "info", "timestamp": "{stamp}.'
        before, behind = self._parts.get((method, route)) or self._make_parts(method, route)
        text = (
            f"{self._prefix}{int((now - second) * 1000):03d}{before}{_quoted(path)}{behind}{status}, "
            f'"ms": {ms:.2f}, "upstream_ms": {upstream_ms:.2f}, "user_id": {"null" if user_id is None else user_id}, '
            f'"ip": {_quoted(ip)}, "request_id": "{request_id}"'
        )
        return text + (f', "detail": {_quoted(detail)}}}\n' if detail else "}\n")

    def _make_parts(self, method: str, route: str | None) -> tuple[str, str]:
        """Return the parts of a line before and behind its path; those of known methods and routes are cached."""
        name = "null" if route is None else _quoted(route)
        parts = f'Z", "method": {_quoted(method)}, "path": ', f', "route": {name}, "status": '
        if len(self._parts) < _MAX_PARTS:
            self._parts[method, route] = parts
        return parts

    def flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._lines:
            self._format()
        if self._texts:
            texts, self._texts, self._size = self._texts, [], 0
            self._stream.write("".join(texts))
            self._stream.flush()


class NoAccessLog:
    """An access log that writes nothing."""

    def write(self, line: AccessLine) -> None:
        """Ignore the line."""

    def flush(self) -> None:
        """Return: nothing is collected."""
