"""The Python server 4.26 as a program: its routes, and what surrounds every request."""

from __future__ import annotations

from collections.abc import Awaitable

from mock_noetl.dialect import Dialect
from mock_noetl.foreign_pages import refusal
from mock_noetl.probes import probe
from mock_noetl.python.catalog import CatalogEndpoints
from mock_noetl.python.executions import Executions
from mock_noetl.python.more import MoreEndpoints
from mock_noetl.python.web import (
    SERVER,
    Refused,
    Unhandled,
    answer,
    decoded,
    of_unhandled,
    preflight,
    redirected,
    refused,
    with_origin,
)
from mock_noetl.routes import Handler, Names, Routes
from mock_noetl.state import State
from mock_server.messages import Request, Response

_CATALOG, _UI = "/api/catalog/", "/ui_schema"
_MCP, _DISCOVER, _LIFECYCLE = "/api/mcp/", "/discover", "/lifecycle/"
_RUNNING = {"message": "NoETL API is running (Standalone GUI available externally)"}
NOT_FOUND = Refused(404, "Not Found")


class PythonServer(Dialect):
    """Answers as the Python server."""

    server = SERVER

    def __init__(self, state: State) -> None:
        super().__init__(state)
        self._executions = Executions(state)
        self._catalog = CatalogEndpoints(state)
        self._more = MoreEndpoints(state)
        self._routes = self._table()

    async def reset(self) -> None:
        """Forget all executions, variables, credentials and what was registered."""
        self.state.reset()
        self._catalog.clear()

    def respond(self, request: Request) -> Response | Awaitable[Response]:
        """Return the response to a request."""
        if (foreign := refusal(request, self.state.settings)) is not None:
            return foreign
        early = preflight(request) if request.method == "OPTIONS" else probe(request)
        if early is not None:
            return early
        try:
            found = self._dispatch(request)
        except Refused as error:
            found = refused(error)
        except Unhandled as error:
            return of_unhandled(error)
        if not isinstance(found, Response):
            return self._awaited(request, found)
        return with_origin(request, found) if b"origin" in _names(request) else found

    async def _awaited(self, request: Request, found: Awaitable[Response]) -> Response:
        try:
            response = await found
        except Refused as error:
            response = refused(error)
        return with_origin(request, response)

    def _dispatch(self, request: Request) -> Response | Awaitable[Response]:
        path = decoded(request.path)
        methods, names = self._found(path)
        if methods is None:
            return self._elsewhere(request, path)
        handler = methods.get(request.method)
        if handler is None:
            allowed = next(iter(methods))
            raise Refused(405, "Method Not Allowed", (("allow", allowed),))
        return handler(request, names)

    def _found(self, path: str) -> tuple[dict[str, Handler] | None, Names]:
        """Return the methods of a path; None if there is no such path."""
        exact = self._routes.exact.get(path)
        if exact is not None and path != "/api/executions/cleanup":
            return exact, {}
        found = self._routes.find(path, path.split("/"))
        if not found:
            return self._tail(path)
        first, names = found[0]
        if len(found) > 1:
            first = {**found[1][0], **first}
            names = {**found[1][1], **names}
        return first, names

    def _tail(self, path: str) -> tuple[dict[str, Handler] | None, Names]:
        """Return the methods of a path that has the path of a resource within it."""
        if path.startswith(_CATALOG) and path.endswith(_UI) and len(path) >= len(_CATALOG) + len(_UI):
            inner = path[len(_CATALOG) : -len(_UI)]
            return {"GET": lambda request, names: self._catalog.ui_schema(request, inner)}, {}
        if path.startswith(_MCP):
            rest = path.removeprefix(_MCP)
            if rest.endswith(_DISCOVER):
                inner = rest.removesuffix(_DISCOVER)
                return {"POST": lambda request, names: self._catalog.discover(request, inner)}, {}
            inner, middle, verb = rest.rpartition(_LIFECYCLE)
            if middle and verb and "/" not in verb:
                return {"POST": lambda request, names: self._catalog.lifecycle(request, inner, verb)}, {}
        return None, {}

    def _elsewhere(self, request: Request, path: str) -> Response:
        """Return the redirect to a path with or without a slash at its end. Raises Refused."""
        other = path.rstrip("/") if path.endswith("/") else f"{path}/"
        if path != "/" and self._found(other)[0] is not None:
            raw = request.path
            return redirected(request, raw.rstrip("/") if raw.endswith("/") else f"{raw}/")
        raise NOT_FOUND

    def _table(self) -> Routes:
        routes, runs, catalog, more = Routes(), self._executions, self._catalog, self._more
        health = lambda request, names: answer({"status": "ok"})  # noqa: E731
        for method, path, handler in (
            ("GET", "/", lambda request, names: answer(_RUNNING)),
            ("GET", "/health", health),
            ("GET", "/api/health", health),
            ("POST", "/api/execute", runs.execute),
            ("GET", "/api/executions", runs.listed),
            ("POST", "/api/executions/cleanup", runs.cleanup),
            ("GET", "/api/executions/{id}", runs.detail),
            ("GET", "/api/executions/{id}/status", runs.status),
            ("GET", "/api/executions/{id}/events", runs.events),
            ("GET", "/api/executions/{id}/cancellation-check", runs.cancellation_check),
            ("POST", "/api/executions/{id}/cancel", runs.cancel),
            ("POST", "/api/executions/{id}/finalize", runs.finalize),
            ("POST", "/api/catalog/register", catalog.register),
            ("POST", "/api/catalog/list", catalog.listed),
            ("POST", "/api/catalog/agents/list", catalog.agents),
            ("POST", "/api/catalog/resource", catalog.resource),
            ("GET", "/api/vars/{execution_id}", more.variables),
            ("POST", "/api/vars/{execution_id}", more.set_variables),
            ("DELETE", "/api/vars/{execution_id}", more.delete_variables),
            ("GET", "/api/vars/{execution_id}/{name}", more.variable),
            ("DELETE", "/api/vars/{execution_id}/{name}", more.delete_variable),
            ("POST", "/api/credentials", more.save_credential),
            ("GET", "/api/credentials", more.credentials),
            ("GET", "/api/credentials/{name}", more.credential),
            ("DELETE", "/api/credentials/{name}", more.delete_credential),
            ("GET", "/api/keychain/{catalog_id}/{name}", more.keychain),
            ("POST", "/api/keychain/{catalog_id}/{name}", more.set_keychain),
            ("DELETE", "/api/keychain/{catalog_id}/{name}", more.delete_keychain),
            ("POST", "/api/postgres/execute", more.postgres),
            ("POST", "/api/auth/session/validate", more.validate_session),
            ("GET", "/api/worker/pools", more.pools),
            ("POST", "/api/worker/pool/register", more.register_pool),
            ("GET", "/api/dashboard/stats", more.dashboard),
            ("GET", "/api/dashboard/widgets", more.widgets),
            ("GET", "/api/pool/status", more.pool_status),
            ("GET", "/api/status", more.system),
            ("POST", "/api/events", more.event),
            ("POST", "/api/events/batch", more.batch),
            ("GET", "/api/commands/{event_id}", more.command),
            ("POST", "/api/commands/{event_id}/claim", more.claim),
        ):
            routes.add(method, path, handler)
        return routes


def _names(request: Request) -> set[bytes]:
    return {name.lower() for name, _ in request.fields}
