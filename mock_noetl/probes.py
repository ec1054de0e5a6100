"""Endpoints for tests of a gateway: they return the received request, or known bytes."""

from __future__ import annotations

import hashlib

from aiohttp import web

from mock_noetl.errors import ApiError
from mock_noetl.inputs import is_id
from mock_noetl.values import to_json

MAX_ECHOED_BODY = 10 * 1024 * 1024
MAX_ECHOED_TEXT = 65_536
MAX_BYTES = 10 * 1024**3

_BLOCK = bytes(range(251)) * 257


async def read_body(request: web.BaseRequest, limit: int) -> bytes:
    """Return the whole body. Raises ApiError 413 if it is longer than `limit` bytes."""
    if (request.content_length or 0) > limit:
        raise ApiError(413, "Request body too large")
    body = bytearray()
    async for chunk in request.content.iter_any():
        body += chunk
        if len(body) > limit:
            raise ApiError(413, "Request body too large")
    return bytes(body)


async def echo(request: web.BaseRequest, _: str) -> web.StreamResponse:
    """Return the received request, with its exact bytes; for any method."""
    body = await read_body(request, MAX_ECHOED_BODY)
    headers = [
        [name.decode("utf-8", "surrogateescape"), value.decode("utf-8", "surrogateescape")]
        for name, value in request.raw_headers
    ]
    seen = {
        "method": request.method,
        "path": request.raw_path,
        "headers": headers,
        "body_length": len(body),
        "body_sha256": hashlib.sha256(body).hexdigest(),
        "body": body.decode("utf-8", "replace") if len(body) <= MAX_ECHOED_TEXT else None,
    }
    return web.Response(body=to_json(seen), content_type="application/json")


async def sink(request: web.BaseRequest, _: str) -> web.StreamResponse:
    """Read a body of any length without storing it; return its length and digest."""
    digest, length = hashlib.sha256(), 0
    async for chunk in request.content.iter_any():
        digest.update(chunk)
        length += len(chunk)
    seen = {"length": length, "sha256": digest.hexdigest()}
    return web.Response(body=to_json(seen), content_type="application/json")


async def numbered_bytes(request: web.BaseRequest, count: str) -> web.StreamResponse:
    """Stream a number of bytes; byte number i is i modulo 251."""
    if not is_id(count) or int(count) > MAX_BYTES:
        raise ApiError(422, f"A number of bytes up to {MAX_BYTES} is expected")
    rest = int(count)
    response = web.StreamResponse(headers={"Content-Type": "application/octet-stream"})
    response.content_length = rest
    await response.prepare(request)
    while rest and request.method != "HEAD":
        await response.write(_BLOCK[:rest])
        rest -= min(rest, len(_BLOCK))
    await response.write_eof()
    return response
