"""Structured logs: text on a terminal, JSON otherwise. Tokens, cookies and secret query values are never logged."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import MutableMapping
from typing import Any, TextIO, cast
from urllib.parse import unquote_plus

import structlog

from proxy.http.secret_names import is_secret_parameter, may_hold_secret
from proxy.observe.access import AccessLog, ConsoleAccessLog, JsonAccessLog, NoAccessLog

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def redact_query(query: str) -> str:
    """Return a query without the values of secret parameters, in any spelling of their names."""
    if not may_hold_secret(query):
        return query
    question = "?" if query.startswith("?") else ""
    parts = []
    for part in query.removeprefix("?").split("&"):
        name, equals, _ = part.partition("=")
        secret = is_secret_parameter(unquote_plus(name))
        parts.append(f"{name}=[redacted]" if secret and equals else part)
    return question + "&".join(parts)


def printable(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Escape control characters in values, so that a value can't forge a log line; a structlog processor."""
    for name, value in event.items():
        if isinstance(value, str) and name != "exception" and not value.isprintable():
            event[name] = value.encode("unicode_escape").decode("ascii")
    return event


class ErrorIgnoringStream:
    """A stream that ignores write errors, such as a full disk, so that no request fails because of its log line."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write a text; ignore errors."""
        with contextlib.suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush the stream; ignore errors."""
        with contextlib.suppress(OSError):
            self._stream.flush()


_form: dict[str, int] = {"json": False, "level": logging.INFO}


def configure(format_: str | None, level: str) -> None:
    """Configure the log of the process, for loggers that are created from now on.

    `format_` None means console on a terminal, JSON otherwise.
    """
    console = format_ == "console" or (format_ is None and sys.stderr.isatty())
    _form.update(json=not console, level=_LEVELS[level])
    renderer: Any = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    if not console:
        renderer = structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            printable,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=structlog.WriteLoggerFactory(file=cast(TextIO, ErrorIgnoringStream(sys.stderr))),
        cache_logger_on_first_use=True,
    )
    logging.getLogger("aiohttp").setLevel(logging.CRITICAL)
    logging.getLogger("httpx").setLevel(logging.WARNING)


def access_log(*, enabled: bool) -> AccessLog:
    """Return the access log, in the format that `configure` has set."""
    if not enabled or _form["level"] > logging.INFO:
        return NoAccessLog()
    stream = ErrorIgnoringStream(sys.stderr)
    return JsonAccessLog(stream) if _form["json"] else ConsoleAccessLog(stream, coloured=sys.stderr.isatty())


def get_logger() -> Any:
    """Return the logger of the process."""
    return structlog.get_logger()


def place_of(error: BaseException) -> str:
    """Return the type of an exception and where it was raised, without its text, which may hold a secret."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f" at {trace.tb_frame.f_code.co_filename.rpartition('/')[2]}:{trace.tb_lineno}" if trace is not None else ""
    return f"{type(error).__name__}{place}"
