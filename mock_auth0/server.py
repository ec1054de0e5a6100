"""The listener: requests of aiohttp become values for the program."""

from __future__ import annotations

import asyncio
import logging
import random
import socket
import ssl

from aiohttp import web

from mock_server.clock import Clock
from mock_server.messages import Request, Response
from mock_server.randomness import random_source

from .messages import MAX_BODY
from .program import IdentityProvider
from .settings import TenantFile

SHUTDOWN_SECONDS = 2.0
BODY_SECONDS = 10.0
# aiohttp logs malformed requests, which may contain secrets; the program logs the relevant facts.
_SILENT = logging.Logger("mock_auth0.aiohttp", logging.CRITICAL + 1)


class Server:
    """A listening provider: `start` binds the port, `stop` finishes the current requests and closes.

    Args:
        settings: the content of the tenant file.
        clock: the time.
        source: the random source; None: the one of the seed.
        seed: makes two runs identical, with the same keys; None: everything is random.
        issuer: the issuer of the default tenant, in place of its address.
        logout_uri: a `backchannel_logout_uri`, in place of those of the file.
        tls: the certificate; None: plain HTTP.
    """

    def __init__(
        self,
        settings: TenantFile,
        *,
        clock: Clock | None = None,
        source: random.Random | None = None,
        seed: str | None = None,
        issuer: str | None = None,
        logout_uri: str | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.clock = clock or Clock()
        self.program = IdentityProvider(
            settings, self.clock, source or random_source(seed), seed=seed, issuer=issuer, logout_uri=logout_uri
        )
        self._tls = tls
        self._web: web.Server | None = None
        self._listener: asyncio.Server | None = None
        self.url = ""

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Listen on the port; the system selects one for port 0. `url` is known afterwards.

        Raises:
            OSError: the address is not available.
        """
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.create_server((host, port), family=family)
        scheme, bound = "https" if self._tls else "http", listening.getsockname()[1]
        self.url = f"{scheme}://localhost:{bound}/"
        await asyncio.to_thread(self.program.bind, scheme, bound)
        self._web = web.Server(self._handle, access_log=None, logger=_SILENT, auto_decompress=False)
        self._listener = await asyncio.get_running_loop().create_server(self._web, sock=listening, ssl=self._tls)

    async def stop(self) -> None:
        """Stop accepting connections, wait a short time for the current requests, then close."""
        if self._listener is None or self._web is None:
            return
        self._listener.close()
        self._web.pre_shutdown()
        await self._web.shutdown(SHUTDOWN_SECONDS)
        await self._listener.wait_closed()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await _read(request)
        if isinstance(body, web.Response):
            return body
        scheme = "https" if self._tls else "http"
        value = Request(request.method, request.path_qs, tuple(request.raw_headers), body, request.remote or "", scheme)
        answer = self.program.respond(value)
        response = answer if isinstance(answer, Response) else await answer
        found = web.Response(status=response.status, body=response.body)
        if response.content_type is not None:
            found.headers["Content-Type"] = response.content_type
        for name, text in response.headers:
            found.headers.add(name, text)
        return found


async def _read(request: web.BaseRequest) -> bytes | web.Response:
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.content.iter_any():
                body += chunk
                if len(body) > MAX_BODY:
                    break
    except TimeoutError:
        return web.Response(status=408)
    except web.RequestPayloadError:
        return web.Response(status=400)
    return bytes(body)
