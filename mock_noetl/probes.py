"""Endpoints for tests of a gateway: they return the received request, or known bytes. No NoETL server has them."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable
from typing import Any

from mock_noetl.values import is_id
from mock_server.filler import filler
from mock_server.messages import Request, Response, json_response

MAX_ECHOED_TEXT = 65_536
MAX_BYTES = 10 * 1024**3
_ECHO, _SINK, _BYTES = "/api/echo", "/api/sink", "/api/bytes/"


def probe(request: Request) -> Response | Awaitable[Response] | None:
    """Return the response of a probe; None for another path."""
    path = request.path
    if path == _ECHO:
        return _echo(request)
    if path == _SINK:
        return _sink(request)
    return _bytes(request, path.removeprefix(_BYTES)) if path.startswith(_BYTES) else None


def is_streamed(request: Request) -> bool:
    """Return whether the body of a request is read part by part."""
    return request.path == _SINK


def _echo(request: Request) -> Response:
    """Return the received request, with its exact bytes; for any method."""
    body = request.body
    seen: dict[str, Any] = {
        "method": request.method,
        "path": request.target,
        "headers": [[_text(name), _text(value)] for name, value in request.fields],
        "body_length": len(body),
        "body_sha256": hashlib.sha256(body).hexdigest(),
        "body": body.decode("utf-8", "replace") if len(body) <= MAX_ECHOED_TEXT else None,
    }
    return json_response(seen)


def _text(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")


async def _sink(request: Request) -> Response:
    """Read a body of any length without storing it; return its length and digest."""
    digest, length = hashlib.sha256(request.body), len(request.body)
    if request.stream is not None:
        async for part in request.stream:
            digest.update(part)
            length += len(part)
    return json_response({"length": length, "sha256": digest.hexdigest()})


def _bytes(request: Request, count: str) -> Response:
    """Stream a number of bytes; byte number i is i modulo 251."""
    if not is_id(count) or int(count) > MAX_BYTES:
        return json_response({"detail": f"A number of bytes up to {MAX_BYTES} is expected"}, 422)
    size = int(count)
    return Response(200, b"", "application/octet-stream", (), filler(size), size)
