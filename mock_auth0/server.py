"""The HTTP server: a table of paths, CORS for browsers on this machine, and one log line per request.

A log line contains the endpoint, the method, the status and the duration. It never contains a query, a body or a
header, because those contain codes, tokens and passwords.
"""

from __future__ import annotations

import asyncio
import logging
import re
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import structlog
from aiohttp import hdrs, web

from . import account, authorize, everywhere, token_endpoint
from .keys import SigningKey
from .messages import OAuthError, PageError, error_response
from .pages import error_page
from .tenant import Tenant
from .users import Directory

Handler = Callable[[Tenant, web.BaseRequest], Awaitable[web.Response]]

SHUTDOWN_SECONDS = 2.0
_LOCAL_ORIGIN = re.compile(r"http://(localhost|127\.0\.0\.1)(:[0-9]{1,5})?")
# aiohttp logs malformed requests, which may contain secrets; `respond` logs the relevant facts.
_SILENT = logging.Logger("mock_auth0.aiohttp", logging.CRITICAL + 1)
_log = structlog.get_logger("mock_auth0")


@dataclass(frozen=True, slots=True)
class Route:
    """One path: its handler per method, and whether pages of other origins may call it."""

    methods: Mapping[str, Handler]
    cors: bool = False

    @property
    def allowed(self) -> str:
        """The value of the Allow header."""
        return ", ".join([*self.methods, *(["HEAD"] if "GET" in self.methods else []), "OPTIONS"])


async def health(tenant: Tenant, request: web.BaseRequest) -> web.Response:
    """Serve `/health`."""
    return web.Response(text="ok", headers={"Cache-Control": "no-store"})


ROUTES: Mapping[str, Route] = {
    "/.well-known/openid-configuration": Route({"GET": account.discovery}, cors=True),
    "/.well-known/jwks.json": Route({"GET": account.jwks}, cors=True),
    "/authorize": Route({"GET": authorize.authorize}),
    "/u/login": Route({"POST": authorize.login}),
    "/oauth/token": Route({"POST": token_endpoint.token}, cors=True),
    "/oauth/revoke": Route({"POST": token_endpoint.revoke}, cors=True),
    "/userinfo": Route({"GET": account.userinfo, "POST": account.userinfo}, cors=True),
    "/v2/logout": Route({"GET": account.logout}),
    "/oidc/logout": Route({"GET": account.oidc_logout, "POST": account.oidc_logout}),
    everywhere.PATH: Route({"GET": everywhere.show, "POST": everywhere.log_out}),
    "/health": Route({"GET": health}),
}


class Server:
    """A listening provider: `start` binds the port, `stop` finishes the current requests and closes."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._web: web.Server | None = None
        self._listener: asyncio.Server | None = None
        self.url = ""

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Listen on the port; the system selects one for port 0. `url`, which is also the issuer, is known afterwards.

        Raises:
            OSError: the address is not available.
        """
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.create_server((host, port), family=family)
        self.url = f"http://localhost:{listening.getsockname()[1]}/"
        key = await asyncio.to_thread(SigningKey.generate)
        tenant = Tenant(self._directory, self.url, key)

        async def handle(request: web.BaseRequest) -> web.Response:
            return await respond(tenant, request)

        self._web = web.Server(handle, access_log=None, logger=_SILENT, auto_decompress=False)
        self._listener = await asyncio.get_running_loop().create_server(self._web, sock=listening)

    async def stop(self) -> None:
        """Stop accepting connections, wait a short time for the current requests, then close."""
        if self._listener is None or self._web is None:
            return
        self._listener.close()
        self._web.pre_shutdown()
        await self._web.shutdown(SHUTDOWN_SECONDS)
        await self._listener.wait_closed()


async def respond(tenant: Tenant, request: web.BaseRequest) -> web.Response:
    """Call the handler of a request, add the CORS headers, and write the log line."""
    started = time.monotonic()
    route = ROUTES.get(request.path)
    response = await _answer(tenant, route, request)
    if route is not None and route.cors:
        _allow_origin(request, response)
    _log.info(
        "request",
        method=request.method if request.method in hdrs.METH_ALL else "other",
        path=request.path if route else "unknown",
        status=response.status,
        milliseconds=round((time.monotonic() - started) * 1000, 1),
    )
    return response


async def _answer(tenant: Tenant, route: Route | None, request: web.BaseRequest) -> web.Response:
    if route is None:
        return error_response(OAuthError(404, "not_found", "Not found."))
    if request.method == "OPTIONS":
        return web.Response(status=204, headers={"Allow": route.allowed})
    handler = route.methods.get("GET" if request.method == "HEAD" else request.method)
    if handler is None:
        response = error_response(OAuthError(405, "invalid_request", "Method not allowed."))
        response.headers["Allow"] = route.allowed
        return response
    try:
        return await handler(tenant, request)
    except OAuthError as error:
        return error_response(error)
    except PageError as error:
        return error_page(str(error), error.status)
    except Exception as error:
        # Only the class: the message could contain a part of the request.
        _log.error("failure", path=request.path, error=type(error).__name__)
        return error_response(OAuthError(500, "server_error", "Something went wrong."))


def _allow_origin(request: web.BaseRequest, response: web.Response) -> None:
    response.headers["Vary"] = "Origin"
    origin = request.headers.get("Origin", "")
    if not _LOCAL_ORIGIN.fullmatch(origin):
        return
    response.headers["Access-Control-Allow-Origin"] = origin
    if request.method == "OPTIONS":
        response.headers["Access-Control-Allow-Methods"] = response.headers["Allow"]
        response.headers["Access-Control-Allow-Headers"] = "Authorization, Content-Type, Auth0-Client"
        response.headers["Access-Control-Max-Age"] = "600"
