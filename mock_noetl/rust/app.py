"""The Rust server 3.54 as a program: its routes, and what surrounds every request."""

from __future__ import annotations

from collections.abc import Awaitable

from mock_noetl.dialect import Dialect
from mock_noetl.foreign_pages import refusal
from mock_noetl.probes import probe
from mock_noetl.routes import Handler, Names, Routes
from mock_noetl.rust.catalog import CatalogEndpoints
from mock_noetl.rust.executions import Executions
from mock_noetl.rust.more import MoreEndpoints
from mock_noetl.rust.web import Refused, Rejected, empty, of_error, preflight
from mock_noetl.state import State
from mock_server.messages import Request, Response

_CATALOG = "/api/catalog/"


class RustServer(Dialect):
    """Answers as the Rust server."""

    def __init__(self, state: State) -> None:
        super().__init__(state)
        self._executions = Executions(state)
        self._catalog = CatalogEndpoints(state)
        self._more = MoreEndpoints(state)
        self._routes = self._table()

    async def reset(self) -> None:
        """Forget all executions, variables, credentials and what was registered."""
        self.state.reset()
        self._executions.clear()
        self._catalog.clear()

    def respond(self, request: Request) -> Response | Awaitable[Response]:
        """Return the response to a request."""
        if (foreign := refusal(request, self.state.settings)) is not None:
            return foreign
        found = probe(request)
        if found is not None:
            return found
        path = request.path
        methods, names = self._found(path)
        if request.method == "OPTIONS":
            return preflight(_allowed(methods) if methods is not None else None)
        if methods is None:
            return empty(404)
        handler = methods.get(request.method)
        if handler is None:
            get = methods.get("GET") if request.method == "HEAD" else None
            if get is None:
                return empty(405, _allowed(methods))
            handler = get
        try:
            found = handler(request, names)
        except (Refused, Rejected) as error:
            return of_error(error)
        return found if isinstance(found, Response) else self._awaited(found)

    async def _awaited(self, found: Awaitable[Response]) -> Response:
        try:
            return await found
        except (Refused, Rejected) as error:
            return of_error(error)

    def _found(self, path: str) -> tuple[dict[str, Handler] | None, Names]:
        """Return the methods of a path; None if there is no such path."""
        exact = self._routes.exact.get(path)
        if exact is not None:
            return exact, {}
        found = self._routes.find(path, path.split("/"))
        if found:
            return found[0]
        if path.startswith(_CATALOG) and len(path) > len(_CATALOG):
            tail = path.removeprefix(_CATALOG)
            return {"GET": lambda request, names: self._catalog.ui_schema(request, tail)}, {}
        return None, {}

    def _table(self) -> Routes:
        routes, runs, catalog, more = Routes(), self._executions, self._catalog, self._more
        for method, path, handler in (
            ("GET", "/health", more.plain_health),
            ("GET", "/api/health", more.health),
            ("GET", "/api/pool/status", more.pool_status),
            ("POST", "/api/catalog/register", catalog.register),
            ("POST", "/api/catalog/list", catalog.listed),
            ("POST", "/api/catalog/resource", catalog.resource),
            ("POST", "/api/credentials", more.save_credential),
            ("GET", "/api/credentials", more.credentials),
            ("GET", "/api/credentials/{name}", more.credential),
            ("DELETE", "/api/credentials/{name}", more.delete_credential),
            ("POST", "/api/auth/session/validate", more.validate_session),
            ("POST", "/api/auth/login", more.login),
            ("POST", "/api/auth/check-playbook-access", more.check_access),
            ("GET", "/api/keychain/catalog/{catalog_id}", more.keychains),
            ("GET", "/api/keychain/{catalog_id}/{name}", more.keychain),
            ("POST", "/api/keychain/{catalog_id}/{name}", more.set_keychain),
            ("DELETE", "/api/keychain/{catalog_id}/{name}", more.keychain),
            ("POST", "/api/execute", runs.execute),
            ("POST", "/api/execute/batch", runs.batch),
            ("POST", "/api/events", more.event),
            ("POST", "/api/events/batch", more.batch),
            ("GET", "/api/commands/{event_id}", more.command),
            ("POST", "/api/commands/{event_id}/claim", more.claim),
            ("GET", "/api/subscriptions", catalog.subscriptions),
            ("POST", "/api/subscriptions", catalog.subscribe),
            ("POST", "/api/subscriptions/register", catalog.subscribe),
            ("GET", "/api/subscriptions/{id}", catalog.subscription),
            ("POST", "/api/subscriptions/{id}/{action}", catalog.change),
            ("GET", "/api/executions", runs.listed),
            ("GET", "/api/executions/{execution_id}", runs.detail),
            ("GET", "/api/executions/{execution_id}/status", runs.status),
            ("POST", "/api/executions/{execution_id}/cancel", runs.cancel),
            ("GET", "/api/executions/{execution_id}/cancellation-check", runs.cancellation_check),
            ("POST", "/api/executions/{execution_id}/finalize", runs.finalize),
            ("GET", "/api/vars/{execution_id}", more.variables),
            ("POST", "/api/vars/{execution_id}", more.set_variables),
            ("DELETE", "/api/vars/{execution_id}", more.delete_variables),
            ("GET", "/api/vars/{execution_id}/{name}", more.variable),
            ("DELETE", "/api/vars/{execution_id}/{name}", more.delete_variable),
            ("POST", "/api/worker/pool/register", more.register_pool),
            ("DELETE", "/api/worker/pool/deregister", more.no_pool),
            ("POST", "/api/worker/pool/heartbeat", more.no_pool),
            ("GET", "/api/worker/pools", more.pools),
            ("GET", "/api/runtime/shard-info", more.shard),
            ("POST", "/api/postgres/execute", more.postgres),
            ("POST", "/api/db/init", more.init),
            ("GET", "/api/status", more.system),
            ("GET", "/api/threads", more.threads),
            ("GET", "/api/profiler/status", more.profiler),
            ("POST", "/api/profiler/memory/start", more.start_profiler),
            ("POST", "/api/profiler/memory/stop", more.stop_profiler),
            ("GET", "/api/dashboard/stats", more.dashboard),
            ("GET", "/api/dashboard/widgets", more.widgets),
        ):
            routes.add(method, path, handler)
        return routes


def _allowed(methods: dict[str, Handler]) -> str:
    """Return the methods of a path, as the `allow` header lists them."""
    return ",".join("GET,HEAD" if method == "GET" else method for method in methods)
