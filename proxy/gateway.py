"""Puts a compiled configuration together with its stores, clients and handlers: one service per route."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from proxy.config.builtin import HANDLERS
from proxy.config.compile import Compiled, RouteSpec
from proxy.config.model import HeaderEdit, Server
from proxy.config.model_upstreams import Upstream, noetl_upstreams
from proxy.endpoints.auth import AuthHandlers
from proxy.endpoints.backchannel_logout import BackchannelLogout
from proxy.endpoints.callbacks import CallbackHandlers
from proxy.endpoints.direct import Answer, DirectExchange
from proxy.endpoints.events import EventsHandler
from proxy.endpoints.fast_graphql import FastGraphql, OperationExchange
from proxy.endpoints.graphiql import load_page
from proxy.endpoints.graphql import GraphqlHandler
from proxy.endpoints.graphql_sse import GraphqlStreams
from proxy.endpoints.graphql_ws import GraphqlSockets
from proxy.endpoints.health import OpsHandlers
from proxy.endpoints.live_socket import LiveSocketHandler
from proxy.endpoints.metrics import MetricsHandler, measure_upstreams
from proxy.endpoints.open_streams import OpenStreams
from proxy.endpoints.operations import InForce
from proxy.endpoints.sharding import ShardingHandler
from proxy.exchange import FastExchange, Handler, Service
from proxy.graphql.build import make_library
from proxy.graphql.schema import make_schema
from proxy.guards import NO_SESSION, OPTIONAL, REQUIRED, RouteGuards
from proxy.http.header_plan import HeaderEdits, RequestPlan, ResponsePlan
from proxy.http.location import Locations, Mount
from proxy.http.origin import read_origin
from proxy.http.request import RequestHead
from proxy.http.response import HSTS, SECURITY, OwnHeads
from proxy.identity.local import LocalProvider, SessionSettings
from proxy.identity.principal import Principals
from proxy.identity.tenants import KeySetClients, make_tenants, used_claims
from proxy.live.hub import LiveSettings
from proxy.live.start import LiveStarts
from proxy.noetl.api import NoetlApi
from proxy.noetl.authorize import Authorizer
from proxy.noetl.bridge.bridge import Bridge
from proxy.observe.audit import STDOUT, Audit, AuditFile, AuditSettings, AuditStream, BackgroundAudit
from proxy.observe.audit_trail import EVENTS
from proxy.observe.metrics import Collected
from proxy.observe.tracing import Tracing
from proxy.policy.binding import Bind
from proxy.policy.throttle import ThrottleSettings
from proxy.process import Process
from proxy.rate_limits import RateLimit
from proxy.relay.fast import RelayExchange
from proxy.relay.handler import RelayHandler
from proxy.relay.internal import InternalRequests
from proxy.relay.relayed import RelayedRoute
from proxy.relay.websocket import WebSocketRelay
from proxy.rewrite import Rewrite
from proxy.routing import Entry, Missing, RouteTable, parse_pattern
from proxy.sessions.store import SessionStore
from proxy.sign_in import make_sign_in
from proxy.upstream.build import made_of, make_upstream
from proxy.upstream.client import UpstreamClient

_SESSION = {"needed": REQUIRED, "session": REQUIRED, "optional": OPTIONAL, "own": NO_SESSION, "none": NO_SESSION}
_MAX_DIRECT = 64 * 1024


def own_url(block: Server) -> str:
    """Return how browsers and workers reach this gateway."""
    scheme = "https" if block.tls is not None else "http"
    return (block.public_url or f"{scheme}://localhost:{block.port}").rstrip("/")


def open_audit(compiled: Compiled) -> Audit | None:
    """The audit log of a configuration, relative to its file; None if it has none."""
    block = compiled.loaded.gateway.audit
    if block is None:
        return None
    key = (block.key or "").encode()
    if block.file == STDOUT:
        return AuditStream(key)
    return AuditFile(AuditSettings(compiled.loaded.file.parent / block.file, block.max_size, block.keep, key))


class Gateway:
    """The running parts of one configuration."""

    def __init__(
        self, compiled: Compiled, store: SessionStore, process: Process | None = None, before: Gateway | None = None
    ) -> None:
        """Takes over what `before`, the gateway of the last configuration, has that is still the same.

        Raises ConfigError for trusted documents that were changed since they were checked.
        """
        config = compiled.loaded.gateway
        self.compiled = compiled
        self.store = store
        self.process = process or Process()
        self.drain = self.process.drain
        self._before = before
        self.tracing = self._tracing()
        audit = open_audit(compiled)
        self.audit = BackgroundAudit(audit) if audit is not None else None
        before_clients = before.key_set_clients if before is not None else None
        self.key_set_clients: KeySetClients = KeySetClients(config.auth.jwks.timeout, before_clients)
        self.upstreams = {name: self._upstream(name, block) for name, block in config.upstreams.items()}
        self.apis = {name: self._api(name) for name in noetl_upstreams(config.upstreams)}
        self.api = next(iter(self.apis.values()), None)
        metrics = self.process.measures.metrics
        self._bridges = {n: Bridge(a, metrics.bridged) for n, a in self.apis.items() if config.upstreams[n].bridge}
        most = config.acl.max_judged_body
        self.authorizer = Authorizer(compiled.access, store, self.api, metrics.decisions, self.tracing, most)
        others = [name for name, api in self.apis.items() if api is not self.api]
        self._authorizers = {name: self.authorizer.using(self.apis[name]) for name in others}
        self.security = SECURITY if config.headers.security else ()
        self.provider = self._make_provider()
        own = own_url(config.server)
        self.sign_in = sign_in = make_sign_in(config, self.provider, store, self.api, self.process, own)
        self.bind = Bind(config.sessions.bind)
        idle = config.sessions.idle_timeout
        access, trust, tokens = compiled.access, sign_in.trust, sign_in.tokens
        self.principals = Principals(
            sign_in.sessions, store, idle, access, self.bind, trust, metrics, tokens, sign_in.note
        )
        self.auth = self._auth()
        cookie = config.sessions.cookie
        self._cookie_name = cookie.name if cookie.enabled else None
        self._relayed: dict[int, RelayedRoute] = {}
        self._in_force: dict[int, InForce] = {}
        longest = config.server.limits.max_header_size
        self.internal = InternalRequests(RouteTable(()), self._relayed, self.principals, self._cookie_name, longest)
        self._services = {id(e.route): self._service(e.route) for e in compiled.routes.entries}
        self.routes: RouteTable[Service] = RouteTable(
            Entry(e.hosts, e.methods, e.pattern, self._services[id(e.route)]) for e in compiled.routes.entries
        )
        self.internal.routes = self.routes
        self._before = None

    def start(self) -> None:
        """Begin what runs by itself, and take over what all configurations of the process share."""
        self._use_live()
        self.sign_in.start()
        for upstream in self.upstreams.values():
            upstream.start()

    def _tracing(self) -> Tracing | None:
        wanted = self.compiled.loaded.gateway.tracing
        before = self._before.tracing if self._before is not None else None
        if not wanted.enabled:
            return None
        return before if before is not None and before.endpoint == wanted.endpoint else Tracing(wanted.endpoint)

    def _use_live(self) -> None:
        """Apply the settings of events and the rules of subscriptions; streams and requests go on across a reload."""
        block = self.compiled.loaded.gateway.live
        self.process.use(self.store)
        settings = LiveSettings(block.heartbeat, block.request_lifetime, block.queue, block.follow)
        self.process.hub.use(settings, self.store.live)
        self.process.follower.api = self.api
        self.process.operations.use(self._graphql_of)

    def _graphql_of(self, head: RequestHead) -> InForce | None:
        """Return what serves GraphQL for a request; None if nothing does."""
        found = self.routes.find(head.fields.host.name, head.method, head.path)
        return None if isinstance(found, Missing) else self._in_force.get(id(found.route))

    def _upstream(self, name: str, block: Upstream) -> UpstreamClient:
        folder = self.compiled.loaded.file.parent
        known = self._before.upstreams.get(name) if self._before is not None else None
        if known is None or known.made_of != made_of(block, folder):
            known = make_upstream(name, block, folder)
        known.tracing = self.tracing
        return known

    def _api(self, name: str) -> NoetlApi:
        """Return the API of a NoETL server, with the facts that the last configuration has of the same server."""
        client = self.upstreams[name]
        before = self._before.apis.get(name) if self._before is not None else None
        return NoetlApi(client, before.known if before is not None and before.client is client else None)

    def _make_provider(self) -> LocalProvider:
        config = self.compiled.loaded.gateway
        sessions, auth, folder = config.sessions, config.auth, self.compiled.loaded.file.parent
        before = self._before.provider.tenants if self._before is not None else None
        return LocalProvider(
            make_tenants(auth, folder, self.key_set_clients, before),
            auth.default_tenant or (auth.tenants[0].domain if len(auth.tenants) == 1 else None),
            self.store,
            SessionSettings(sessions.default_hours, sessions.max_hours, sessions.idle_timeout, sessions.max_per_user),
            used_claims(self.compiled.access, auth.tenants),
        )

    def _auth(self) -> AuthHandlers:
        config = self.compiled.loaded.gateway
        slow = config.auth.throttle
        throttle = self.process.throttle(ThrottleSettings(slow.after, slow.window, slow.delay, slow.max_delay))
        metrics = self.process.measures.metrics
        cookie = config.sessions.cookie
        return AuthHandlers(
            self.sign_in.provider,
            self.store,
            self.principals,
            self.authorizer,
            cookie,
            metrics,
            throttle,
            self.sign_in.calls,
        )

    def _service(self, spec: RouteSpec) -> Service:
        name = spec.block.handler
        guards = self._guards(spec)
        fast: type[FastExchange] | None
        fast_route: Any
        if name is None:
            route = self._relayed_route(spec)
            websocket = WebSocketRelay(route, guards) if spec.block.websocket else None
            handler: Handler = RelayHandler(route, websocket).handle
            fast, fast_route, largest = RelayExchange, route, spec.max_body_size
        elif name == "graphql":
            graphql = self._graphql(spec)
            handler, fast, largest = graphql.handle, OperationExchange, spec.max_body_size
            route, fast_route = None, FastGraphql(graphql)
        else:
            handler, fast_route, largest, route = self._handler(name), self._direct(name), _MAX_DIRECT, None
            fast = DirectExchange if fast_route is not None else None
        bridged = route is not None and route.bridge is not None
        timing, audited = spec.block.server_timing, name in EVENTS
        service = Service(spec, guards, handler, fast, fast_route, largest, timing, audited, bridged)
        if route is not None and route.api is not None:
            self._relayed[id(service)] = route
        if isinstance(fast_route, FastGraphql):
            self._in_force[id(service)] = InForce(fast_route.handler, guards, self.principals)
        return service

    def _guards(self, spec: RouteSpec) -> RouteGuards:
        config, name = self.compiled.loaded.gateway, spec.block.handler
        session = spec.block.auth if name is None else HANDLERS[name].session
        return RouteGuards(
            pattern=spec.pattern,
            cors=spec.cors,
            allow_from=spec.allow_from,
            session=_SESSION[session],
            roles=spec.require_roles,
            limit=self._limit(spec),
            checks_origin=config.sessions.cookie.enabled,
            plants_cookie=name == "auth.login",
            own_origin=read_origin(own_url(config.server)),
        )

    def _limit(self, spec: RouteSpec) -> RateLimit | None:
        return self.process.limiter(spec.limit) if spec.limit is not None else None

    def _relayed_route(self, spec: RouteSpec) -> RelayedRoute:
        block = spec.block
        name = block.upstream or ""
        upstream = self.upstreams[name]
        cookie = self.compiled.loaded.gateway.sessions.cookie
        cookie_name = cookie.name if cookie.enabled else "session_token"
        rewrite = Rewrite(block.rewrite, parse_pattern(spec.pattern))
        answer = ResponsePlan(
            _edits(block.headers.response),
            vary=_depends_on(spec, with_cookie=cookie.enabled),
            no_store=block.auth == "session",
            nosniff=bool(self.security),
            session_cookie=cookie_name,
            locations=self._locations(name, rewrite.mount),
        )
        return RelayedRoute(
            spec,
            upstream,
            self.apis.get(name),
            self._authorizers.get(name, self.authorizer),
            self.store,
            rewrite,
            RequestPlan(_edits(block.headers.request), cookie_name),
            answer,
            self.drain,
            block.timeout or upstream.pool.settings.response_timeout,
            bridge=self._bridges.get(name),
        )

    def _locations(self, name: str, own: Mount | None) -> Locations:
        """Return what translates the references of an upstream to the paths of the routes that lead there."""
        block = self.compiled.loaded.gateway.upstreams[name]
        if not block.rewrite_location:
            return Locations()
        routes = [e for e in self.compiled.routes.entries if e.route.block.upstream == name]
        mounts = [Rewrite(e.route.block.rewrite, e.pattern).mount for e in routes]
        origins = [read_origin(url.rstrip("/")) for url in block.urls]
        return Locations(filter(None, origins), filter(None, (own, *mounts)))

    def _direct(self, name: str) -> Answer | None:
        """Return what serves an endpoint on the fast path, if it need not wait."""
        auth = self.auth
        known = {"auth.validate": auth.validate_now, "auth.check_access": auth.check_access_now, "auth.me": auth.me_now}
        return None if name == "auth.check_access" and self.sign_in.calls is not None else known.get(name)

    def _handler(self, name: str) -> Handler:
        key_sets = {domain: keys for domain, (_, keys) in self.provider.tenants.items()}
        metrics = (e.route for e in self.compiled.routes.entries if e.route.block.handler == "metrics")
        operators = tuple(network for spec in metrics for network in spec.allow_from)
        ops = OpsHandlers(self.compiled, self.upstreams, self.store, key_sets, self.drain, self.apis, operators)
        auth, live = self.auth, self.compiled.loaded.gateway.live
        heads, streams = self._heads(), self._streams()
        callbacks = CallbackHandlers(self.process.hub, self.process.auth_callbacks, live.internal_token)
        handlers: dict[str, Handler] = {
            "health": ops.health,
            "ready": ops.ready,
            "metrics": MetricsHandler(self.process.measures, self).handle,
            "runtime.contract": ops.contract,
            "sharding.preview": ShardingHandler(len(self.api.client.endpoints) if self.api else 1).preview,
            "auth.login": auth.login,
            "auth.validate": auth.validate,
            "auth.check_access": auth.check_access,
            "auth.logout": auth.logout,
            "auth.sessions": auth.sessions,
            "auth.ticket": auth.ticket,
            "auth.me": auth.me,
            "live.events": EventsHandler(streams, heads).handle,
            "live.socket": LiveSocketHandler(streams, heads).handle,
            "live.callback": callbacks.auth,
            "live.callback_async": callbacks.result,
            "live.progress": callbacks.progress,
            "auth.backchannel_logout": BackchannelLogout(self.provider, self.store).handle,
        }
        return handlers[name]

    def _heads(self) -> OwnHeads:
        return OwnHeads(self.security, HSTS if self.security else ())

    def _streams(self) -> OpenStreams:
        metrics = self.process.measures.metrics
        return OpenStreams(self.process.hub, self.principals, self.store, self.drain, metrics)

    def _graphql(self, spec: RouteSpec) -> GraphqlHandler:
        config = self.compiled.loaded.gateway
        settings, schema = config.graphql, make_schema()
        library = make_library(schema, settings, self.compiled.loaded.file.parent)
        assert self.api is not None  # noqa: S101 - the checks refuse a graphql route without the upstream
        operations, streams, heads = self.process.operations, self._streams(), self._heads()
        return GraphqlHandler(
            schema,
            library,
            settings,
            self.api,
            self.authorizer,
            self.store,
            self.internal,
            LiveStarts(self.process.hub, self.process.follower, own_url(config.server)),
            spec.max_body_size,
            load_page(),
            GraphqlStreams(operations, self.process.shared, streams, heads),
            GraphqlSockets(operations, streams, heads, spec.max_body_size),
        )

    async def retire(self, after: Gateway) -> None:
        """Another gateway has taken over: serve what is under way, and keep no connection of one's own."""
        kept = after.upstreams.values()
        going = [upstream for upstream in self.upstreams.values() if upstream not in kept]
        counted: Collected = {}
        measure_upstreams(going, counted)
        self.process.measures.metrics.add_counters_of(counted)
        self.process.keep_limiters(e.route.limit for e in after.compiled.routes.entries if e.route.limit is not None)
        await asyncio.gather(*(upstream.retire() for upstream in going))

    async def close_what_is_left(self, others: Sequence[Gateway]) -> None:
        """Nothing is under way any more: let go of all that none of `others` uses, older and newer ones."""
        await self.key_set_clients.close(other.key_set_clients for other in others)
        await self._close_audit()
        if self.tracing is not None and all(self.tracing is not other.tracing for other in others):
            await asyncio.to_thread(self.tracing.close)
        if all(self.store is not other.store for other in others):
            await self.store.close()

    async def _close_audit(self) -> None:
        if self.audit is not None:
            await asyncio.to_thread(self.audit.close)

    async def close(self) -> None:
        """Let go of connections, of the audit log and of the store."""
        await self._close_audit()
        await self.process.follower.close()
        await asyncio.gather(*(upstream.close() for upstream in self.upstreams.values()), self.key_set_clients.close())
        await self.store.close()
        if self.tracing is not None:
            await asyncio.to_thread(self.tracing.close)


def _depends_on(spec: RouteSpec, *, with_cookie: bool) -> list[str]:
    """Return the names of the request fields that the response on a relayed route depends on."""
    session = ("authorization", "x-session-token", *(("cookie",) if with_cookie else ()))
    return [*(("origin",) if spec.cors.varies else ()), *(session if spec.block.auth != "none" else ())]


def _edits(block: HeaderEdit) -> HeaderEdits:
    return HeaderEdits(block.set, tuple(block.remove))
