"""The page of the control plane and its files, read from the package once."""

from __future__ import annotations

import html
from collections.abc import Sequence
from functools import cache
from importlib.resources import files

from .messages import Response
from .operations import Operation

_TYPES = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8"}
_FILES = frozenset({"/admin.css", "/admin.js"})
_SAFE = (
    ("content-security-policy", "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
     "form-action 'none'; base-uri 'none'; frame-ancestors 'none'"),
    ("x-content-type-options", "nosniff"),
    ("cache-control", "no-store"),
    ("referrer-policy", "no-referrer"),
)  # fmt: skip


@cache
def _text(name: str) -> str:
    return (files("mock_server") / "pages" / name).read_text(encoding="utf-8")


def page(name: str, operations: Sequence[Operation]) -> Response:
    """Return the page of the control plane of a program."""
    rows = "".join(
        f"<tr><td><code>{operation.method}</code></td><td><code>/__admin{html.escape(operation.path)}</code></td>"
        f"<td>{html.escape(operation.summary)}</td></tr>"
        for operation in operations
    )
    body = _text("admin.html").replace("{{name}}", html.escape(name)).replace("{{operations}}", rows)
    return Response(200, body.encode(), "text/html; charset=utf-8", _SAFE)


def page_file(path: str) -> Response | None:
    """Return a file that the page needs; None for another path."""
    if path not in _FILES:
        return None
    return Response(200, _text(path[1:]).encode(), _TYPES[path.rpartition(".")[2]], _SAFE)
