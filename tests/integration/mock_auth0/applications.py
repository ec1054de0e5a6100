"""Pages of applications, bundled from npm packages, on an origin of their own."""

from __future__ import annotations

import functools
import shutil
import ssl
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web

from tests.e2e.processes import ROOT

CLIENTS = ROOT / "tests" / "integration" / "clients" / "auth0"
_PAGE = '<!doctype html><title>app</title><link rel="icon" href="data:,"><script type="module" src="/page.js"></script>'


def node() -> str:
    """Return the path of Node."""
    found = shutil.which("node")
    assert found, "node is not installed: apt-get install nodejs npm"
    assert (ROOT / "node_modules" / "auth0-js").is_dir(), "the npm packages are not installed: run make pages"
    return found


@functools.cache
def bundle(name: str) -> bytes:
    """Return a page's script with all that it imports."""
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "page.js"
        subprocess.run([node(), str(CLIENTS / "bundle.mjs"), name, str(made)], check=True, timeout=60)
        return made.read_bytes()


@asynccontextmanager
async def application(name: str, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """Serve a page at every path, with `tls` by https; yield its origin."""
    script = bundle(name)

    async def serve(request: web.BaseRequest) -> web.Response:
        if request.path == "/page.js":
            return web.Response(body=script, content_type="text/javascript")
        return web.Response(text=_PAGE, content_type="text/html")

    runner = web.ServerRunner(web.Server(serve))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    try:
        yield f"{'https' if tls else 'http'}://localhost:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
