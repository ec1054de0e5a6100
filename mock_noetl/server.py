"""The HTTP server of the API: a routing table on aiohttp's low-level server, and the listening socket."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from aiohttp import web

from mock_noetl import probes
from mock_noetl.accounts import load_accounts
from mock_noetl.api import Api, Call
from mock_noetl.callbacks import Callbacks
from mock_noetl.catalog import SHIPPED, Catalog
from mock_noetl.dialects import DIALECTS
from mock_noetl.engine import Engine
from mock_noetl.errors import ApiError
from mock_noetl.values import IdSource, to_json

MAX_BODY = 10 * 1024 * 1024
MAX_HEAD = 65_536

_log = logging.getLogger("mock_noetl")
# Malformed requests and closed connections are part of tests, so they are not logged.
_connections = logging.getLogger("mock_noetl.connections")
_connections.setLevel(logging.CRITICAL + 1)

Method = Callable[[Api, Call], Awaitable[Any]]
Probe = Callable[[web.BaseRequest, str], Awaitable[web.StreamResponse]]

_ROUTES: dict[str, dict[str, Method]] = {
    "/api/health": {"GET": Api.health},
    "/api/execute": {"POST": Api.execute},
    "/api/executions": {"GET": Api.executions},
    "/api/executions/cleanup": {"POST": Api.cleanup},
    "/api/executions/{}": {"GET": Api.detail},
    "/api/executions/{}/status": {"GET": Api.status},
    "/api/executions/{}/events": {"GET": Api.events},
    "/api/executions/{}/cancel": {"POST": Api.cancel},
    "/api/catalog/list": {"POST": Api.catalog_list},
    "/api/catalog/agents/list": {"POST": Api.agents_list},
    "/api/catalog/register": {"POST": Api.catalog_register},
    "/api/catalog/resource": {"POST": Api.catalog_resource},
    "/api/postgres/execute": {"POST": Api.postgres},
    "/api/dashboard/stats": {"GET": Api.dashboard},
    "/api/credentials": {"GET": Api.credentials, "POST": Api.credential_save},
    "/api/credentials/{}": {"GET": Api.credential},
    "/api/auth/login": {"POST": Api.login},
    "/api/auth/session/validate": {"POST": Api.validate_session},
    "/api/auth/check-playbook-access": {"POST": Api.check_access},
}
_PROBES: dict[str, Probe] = {
    "/api/echo": probes.echo,
    "/api/sink": probes.sink,
    "/api/bytes/{}": probes.numbered_bytes,
}


@dataclass(frozen=True, slots=True)
class Listener:
    """The address of a running sandbox."""

    host: str
    port: int

    @property
    def url(self) -> str:
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


def build_api(
    dialect: str = "python", playbooks: Path | None = None, accounts: Path | None = None, internal_token: str = ""
) -> Api:
    """Return a new sandbox.

    Args:
        dialect: `python` or `rust`.
        playbooks: a folder with YAML files; None: the shipped ones.
        accounts: a YAML file with users and permissions; None: the shipped one.
        internal_token: what callbacks to the gateway carry, if it wants one.
    """
    ids = IdSource()
    catalog = Catalog(ids)
    catalog.load_folder(playbooks or SHIPPED)
    engine = Engine(ids, accounts=load_accounts(accounts), callbacks=Callbacks(internal_token))
    return Api(DIALECTS[dialect], catalog, engine, ids)


@asynccontextmanager
async def serve(api: Api, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[Listener]:
    """Serve `api` until the context ends. Raises OSError if the port is not available."""

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        return await _answer(api, request)

    server = web.Server(
        handle,
        access_log=None,
        logger=_connections,
        auto_decompress=False,
        max_line_size=MAX_HEAD,
        max_field_size=MAX_HEAD,
        lingering_time=2.0,
    )
    runner = web.ServerRunner(server, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        yield Listener(host, runner.addresses[0][1])
    finally:
        await runner.cleanup()
        await api.close()


async def _answer(api: Api, request: web.BaseRequest) -> web.StreamResponse:
    try:
        return await _dispatch(api, request)
    except ApiError as error:
        return _json(api.dialect.error(error), error.status)
    except (ConnectionError, TimeoutError, web.RequestPayloadError):
        raise
    except Exception:
        _log.exception("a handler failed")
        return _json(api.dialect.error(ApiError(500, "Internal Server Error")), 500)


async def _dispatch(api: Api, request: web.BaseRequest) -> web.StreamResponse:
    target = request.raw_path if request.raw_path.startswith("/") else request.rel_url.raw_path
    route, name = _route(target.partition("?")[0])
    if request.headers.get("expect", "").lower() == "100-continue":
        await _go_on(request)
    if route in _PROBES:
        return await _PROBES[route](request, name)
    methods = _ROUTES.get(route)
    if methods is None:
        raise ApiError(404, "Not Found")
    method = methods.get("GET" if request.method == "HEAD" else request.method)
    if method is None:
        response = _json(api.dialect.error(ApiError(405, "Method Not Allowed")), 405)
        response.headers["Allow"] = ", ".join(methods)
        return response
    body = await probes.read_body(request, MAX_BODY)
    return _json(await method(api, Call(request.query, body, name)))


async def _go_on(request: web.BaseRequest) -> None:
    """Respond to `expect: 100-continue` (RFC 9110, 10.1.1), which the low-level server does not do."""
    transport = request.transport
    if transport is not None:
        transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")


def _route(path: str) -> tuple[str, str]:
    """Return the pattern of the route, and the variable part of the path without decoding."""
    if path in _ROUTES or path in _PROBES:
        return path, ""
    segments = path.split("/")
    if len(segments) not in (4, 5) or not segments[3]:
        return path, ""
    name, segments[3] = unquote(segments[3]), "{}"
    return "/".join(segments), name


def _json(body: Any, status: int = 200) -> web.Response:
    return web.Response(body=to_json(body), status=status, content_type="application/json")
