"""An upstream for bodies of any size: `python -m bench.bulk PORT`. Gives one, and takes one and says what it was.

Every MiB is another, so that one that is lost, doubled or out of place changes the hash.
"""

from __future__ import annotations

import functools
import hashlib
import random
import sys
from collections.abc import Iterator

from aiohttp import web

MIB = 1024 * 1024


@functools.cache
def _noise() -> bytes:
    return random.Random(7).randbytes(MIB - 8)


def blocks(mebibytes: int) -> Iterator[bytes]:
    """A body of so many MiB, piece by piece."""
    for number in range(mebibytes):
        yield number.to_bytes(8, "big") + _noise()


def digest(mebibytes: int) -> str:
    """The SHA-256 of that body."""
    found = hashlib.sha256()
    for block in blocks(mebibytes):
        found.update(block)
    return found.hexdigest()


async def _down(request: web.Request) -> web.StreamResponse:
    mebibytes = int(request.match_info["mebibytes"])
    response = web.StreamResponse()
    response.content_length = mebibytes * MIB
    await response.prepare(request)
    for block in blocks(mebibytes):
        await response.write(block)
    return response


async def _up(request: web.Request) -> web.Response:
    found, size = hashlib.sha256(), 0
    async for data in request.content.iter_any():
        found.update(data)
        size += len(data)
    chunked = request.headers.get("transfer-encoding", "").lower() == "chunked"
    return web.json_response({"bytes": size, "sha256": found.hexdigest(), "chunked": chunked})


async def _alive(_: web.Request) -> web.Response:
    return web.json_response({"status": "ok"})


def main() -> None:
    """Serve until it is stopped."""
    app = web.Application()
    app.router.add_get("/api/health", _alive)
    app.router.add_get("/api/bulk/{mebibytes:[0-9]+}", _down)
    app.router.add_post("/api/bulk", _up)
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None, access_log=None)


if __name__ == "__main__":
    main()
