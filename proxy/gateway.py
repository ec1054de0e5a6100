"""Puts a compiled configuration together with its stores, clients and handlers: one service per route."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from aiohttp import web

from proxy.access import AccessJudge, Kind, Principal, TracedJudge, classify
from proxy.config.builtin import HANDLERS
from proxy.config.compile import Compiled, RouteSpec
from proxy.config.model_identity import Tenant
from proxy.config.model_upstreams import Upstream
from proxy.errors import BadRequest, Forbidden
from proxy.exchange import SECURITY, Exchange
from proxy.graphql.build import make_library
from proxy.graphql.schema import make_schema
from proxy.handlers.auth import AuthHandlers
from proxy.handlers.backchannel import BackchannelLogout
from proxy.handlers.fast import FastLane, LaneRoute
from proxy.handlers.fast_exchange import FastRoute
from proxy.handlers.fast_graphql import FastGraphql
from proxy.handlers.fast_headers import RequestPlan, ResponsePlan
from proxy.handlers.graphql import GraphqlHandler
from proxy.handlers.limits import Limiter
from proxy.handlers.metrics import MetricsHandler, measure_upstreams
from proxy.handlers.ops import OpsHandlers
from proxy.handlers.process import Process
from proxy.handlers.relay import RelayHandler
from proxy.handlers.static import load_page
from proxy.identity.jwks import KeySet, KeySetSettings
from proxy.identity.local import LocalProvider, SessionSettings
from proxy.identity.tokens import TenantSettings
from proxy.observe.access import AccessLog
from proxy.observe.audit import STDOUT, Audit, AuditFile, AuditSettings, AuditStream
from proxy.observe.metrics import Collected
from proxy.observe.tracing import Tracing
from proxy.policy.acl import Action
from proxy.policy.binding import Bind
from proxy.policy.throttle import ThrottleSettings
from proxy.routing import Found, PathError, is_plain, normalise_path, parse_pattern
from proxy.sessions.file import FileStore
from proxy.sessions.memory import MemoryStore
from proxy.sessions.store import LocalSessions, SessionStore
from proxy.upstream.build import made_of, make_upstream
from proxy.upstream.client import UpstreamClient
from proxy.upstream.noetl import NoetlApi

Handler = Callable[[Exchange], Awaitable[web.StreamResponse]]
_GUARD = {"needed": "session", "optional": "optional", "own": "none", "none": "none"}


@dataclass(frozen=True, slots=True)
class Service:
    """What serves a route: its handler, and whether a session is looked for and needed."""

    spec: RouteSpec
    handler: Handler
    session: str
    limiter: Limiter | None


def session_folder(compiled: Compiled) -> Path:
    """Where the file store is: relative to the configuration file."""
    loaded = compiled.loaded
    return (loaded.file.parent / loaded.gateway.sessions.path).resolve()


def open_store(compiled: Compiled) -> SessionStore:
    """Open the configured store. Raises StoreError."""
    if compiled.loaded.gateway.sessions.store == "memory":
        return MemoryStore()
    return FileStore(session_folder(compiled))


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
        self.audit = open_audit(compiled)
        self.http = self._http(config.auth.jwks.timeout)
        self.upstreams = {name: self._upstream(name, block) for name, block in config.upstreams.items()}
        noetl = self.upstreams.get("noetl")
        self.api = NoetlApi(noetl) if noetl else None
        decisions = self.process.measures.metrics.decisions
        if self.tracing is None:
            self.judge = AccessJudge(compiled.access, store, self.api, decisions)
        else:
            self.judge = TracedJudge(compiled.access, store, self.api, decisions, self.tracing)
        self.security = SECURITY if config.headers.security else ()
        self.auth = self._auth()
        self._graphql_handlers: dict[int, GraphqlHandler] = {}
        self._services = {id(e.route): self._service(e.route) for e in compiled.routes.entries}
        self._before = None

    def start(self) -> None:
        """Begin what runs by itself: health checks."""
        for upstream in self.upstreams.values():
            upstream.start()

    def _tracing(self) -> Tracing | None:
        wanted = self.compiled.loaded.gateway.tracing
        before = self._before.tracing if self._before is not None else None
        if not wanted.enabled:
            return None
        return before if before is not None and before.endpoint == wanted.endpoint else Tracing(wanted.endpoint)

    def _http(self, timeout: float) -> httpx.AsyncClient:
        if self._before is not None and self._before.compiled.loaded.gateway.auth.jwks.timeout == timeout:
            return self._before.http
        return httpx.AsyncClient(follow_redirects=False, timeout=timeout)

    def _upstream(self, name: str, block: Upstream) -> UpstreamClient:
        folder = self.compiled.loaded.file.parent
        known = self._before.upstreams.get(name) if self._before is not None else None
        if known is None or known.made_of != made_of(block, folder):
            known = make_upstream(name, block, folder)
        known.tracing = self.tracing
        return known

    def _key_set(self, url: str, settings: KeySetSettings) -> KeySet:
        for _, keys in self._before.auth.provider.tenants.values() if self._before is not None else ():
            if keys.url == url and keys.settings == settings and keys.client is self.http:
                return keys
        return KeySet(url, settings, self.http)

    def service(self, spec: RouteSpec) -> Service:
        """The service of a route of this gateway's table."""
        return self._services[id(spec)]

    def _auth(self) -> AuthHandlers:
        config = self.compiled.loaded.gateway
        sessions, jwks = config.sessions, config.auth.jwks
        settings = KeySetSettings(jwks.lifetime, jwks.cooldown, jwks.timeout, jwks.stale_for, jwks.max_keys)
        tenants = {}
        for tenant in config.auth.tenants:
            made = _tenant(tenant)
            url = tenant.jwks_url or f"{made.issuer}.well-known/jwks.json"
            tenants[tenant.domain.lower()] = (made, self._key_set(url, settings))
        only = config.auth.tenants[0].domain if len(config.auth.tenants) == 1 else None
        provider = LocalProvider(
            tenants,
            config.auth.default_tenant or only,
            self.store,
            SessionSettings(sessions.default_hours, sessions.max_hours, sessions.idle_timeout, sessions.max_per_user),
        )
        slow = config.auth.throttle
        claims = {tenant.domain: tenant.roles_claim for tenant in config.auth.tenants}
        throttle = self.process.throttle(ThrottleSettings(slow.after, slow.window, slow.delay, slow.max_delay))
        metrics = self.process.measures.metrics
        bind = Bind(sessions.bind)
        return AuthHandlers(provider, self.store, self.judge, sessions.cookie, bind, claims, metrics, throttle)

    def _service(self, spec: RouteSpec) -> Service:
        name = spec.block.handler
        if name is None:
            return Service(spec, self._relay(spec).handle, spec.block.auth, self._limiter(spec))
        return Service(spec, self._handler(name, spec), _GUARD[HANDLERS[name].session], self._limiter(spec))

    def _limiter(self, spec: RouteSpec) -> Limiter | None:
        return self.process.limiter(spec.limit) if spec.limit is not None else None

    def _relay(self, spec: RouteSpec) -> RelayHandler:
        name = spec.block.upstream or ""
        cookie = self.compiled.loaded.gateway.sessions.cookie
        idle = self.compiled.loaded.gateway.sessions.idle_timeout
        cookie_name = cookie.name if cookie.enabled else "session_token"
        return RelayHandler(
            spec, self.upstreams[name], name == "noetl", self.judge, self.store, cookie_name, self.drain, idle
        )

    def fast_lane(self, log: AccessLog) -> FastLane | None:
        """The lane of this configuration's plain relays; None where sessions can't be read without waiting, or are
        bound: only the ordinary path looks from where they are used."""
        if self.auth.bind is not Bind.NONE or not isinstance(self.store, LocalSessions):
            return None
        who = self.auth.local_lookup(self.store)
        metrics = self.process.measures.metrics
        return FastLane(
            self.compiled.routes, self._fast_route, who, self.compiled.trusted_proxies, log, self.drain, metrics
        )

    def _fast_route(self, spec: RouteSpec) -> FastRoute | LaneRoute | None:
        block = spec.block
        if spec.allow_from or block.server_timing:
            return None
        if block.handler == "graphql" and spec.limit is None:
            cookie = self.compiled.loaded.gateway.sessions.cookie
            handler = self._graphql_handlers[id(spec)]
            return FastGraphql(spec, handler, cookie.name if cookie.enabled else None, self.security)
        if block.upstream is None or block.auth != "session":
            return None
        rewrite, pattern = block.rewrite, parse_pattern(spec.pattern)
        prefix = rest = None
        if rewrite is not None:
            rest = pattern.rest
            prefix, braces, after = rewrite.partition(f"{{{rest}}}")
            if not braces or after or not prefix.endswith("/") or not is_plain(f"{prefix}x"):
                return None
        cookie = self.compiled.loaded.gateway.sessions.cookie
        upstream = self.upstreams[block.upstream]
        if (upstream.balancer.hash_on or "session") != "session":
            return None
        return FastRoute(
            spec,
            block.upstream == "noetl",
            upstream,
            prefix,
            rest or "",
            {method: spec.action or Action.of_method(method) for method in (*spec.methods, "HEAD")},
            block.timeout or upstream.pool.settings.response_timeout,
            RequestPlan(block.headers.request, cookie.name if cookie.enabled else "session_token"),
            ResponsePlan(block.headers.response),
            self._limiter(spec),
        )

    def _handler(self, name: str, spec: RouteSpec) -> Handler:
        key_sets = {domain: keys for domain, (_, keys) in self.auth.provider.tenants.items()}
        ops = OpsHandlers(self.compiled, self.upstreams, self.store, key_sets, self.drain)
        auth = self.auth
        handlers: dict[str, Handler] = {
            "health": ops.health,
            "ready": ops.ready,
            "metrics": MetricsHandler(self.process.measures, self).handle,
            "runtime.contract": ops.contract,
            "auth.login": auth.login,
            "auth.validate": auth.validate,
            "auth.check_access": auth.check_access,
            "auth.logout": auth.logout,
            "auth.sessions": auth.sessions,
            "auth.ticket": auth.ticket,
            "auth.me": auth.me,
            "auth.backchannel_logout": BackchannelLogout(auth.provider, self.store).handle,
        }
        return self._graphql(spec).handle if name == "graphql" else handlers[name]

    def _graphql(self, spec: RouteSpec) -> GraphqlHandler:
        config = self.compiled.loaded.gateway
        settings, schema = config.graphql, make_schema()
        library = make_library(schema, settings, self.compiled.loaded.file.parent)
        assert self.api is not None  # noqa: S101 - the checks refuse a graphql route without the upstream
        handler = GraphqlHandler(
            schema,
            library,
            settings,
            config.sessions.cookie,
            self.api,
            self.judge,
            self.store,
            self.proxy,
            spec.max_body_size,
            load_page(),
        )
        self._graphql_handlers[id(spec)] = handler
        return handler

    async def proxy(
        self, who: Principal, method: str, endpoint: str, body: Any, headers: list[tuple[str, str]]
    ) -> tuple[int, Any]:
        """`proxyRequest`: the same request under /noetl/, judged by the same route and rules."""
        raw, question, query = endpoint.partition("?")
        try:
            path = normalise_path(raw)
        except PathError as error:
            raise BadRequest(f"endpoint: {error}") from None
        if not path.startswith("/api/") or any(c in "#\x7f" or not " " < c <= "~" for c in query):
            raise BadRequest("endpoint must be a path under /api/")
        outside = "/noetl/" + path.removeprefix("/api/")
        found = self.compiled.routes.find("", method, outside)
        if not isinstance(found, Found) or found.route.block.upstream != "noetl":
            raise Forbidden(detail=f"no route to NoETL serves {method} {outside}")
        spec = found.route
        if spec.require_roles and not spec.require_roles & who.subject.roles:
            raise Forbidden(detail=f"route {spec.pattern} requires a role")
        limiter = self._limiter(spec)
        if limiter is not None:
            limiter.take(who.session.ip, who.key, who.user_id, spec.pattern)
        asked = classify(method, path, spec.action)
        if asked.kind is Kind.PATH:
            self.judge.path(who, asked.action, method, outside)
        data = b"" if body is None else json.dumps(body).encode()
        await self.judge.asked(who, asked, data, headers)
        assert self.api is not None  # noqa: S101 - the graphql handler is made only with an api
        status, answer = await self.api.send(method, path + question + query, headers, body)
        try:
            return status, json.loads(answer) if answer else None
        except (ValueError, RecursionError):
            return status, answer.decode("utf-8", "replace")

    async def retire(self, after: Gateway) -> None:
        """Another gateway has taken over: serve what is under way, and keep no connection of one's own."""
        kept = after.upstreams.values()
        going = [upstream for upstream in self.upstreams.values() if upstream not in kept]
        counted: Collected = {}
        measure_upstreams(going, counted)
        self.process.measures.metrics.keep(counted)
        self.process.keep_limiters(e.route.limit for e in after.compiled.routes.entries if e.route.limit is not None)
        await asyncio.gather(*(upstream.retire() for upstream in going))

    async def close_what_is_left(self, others: Sequence[Gateway]) -> None:
        """Nothing is under way any more: let go of all that none of `others` uses, older and newer ones."""
        if all(self.http is not other.http for other in others):
            await self.http.aclose()
        if self.tracing is not None and all(self.tracing is not other.tracing for other in others):
            await asyncio.to_thread(self.tracing.close)
        if all(self.store is not other.store for other in others):
            await self.store.close()

    async def close(self) -> None:
        """Let go of connections and of the store."""
        await asyncio.gather(*(upstream.close() for upstream in self.upstreams.values()), self.http.aclose())
        await self.store.close()
        if self.tracing is not None:
            await asyncio.to_thread(self.tracing.close)


def _tenant(block: Tenant) -> TenantSettings:
    return TenantSettings(
        block.domain,
        block.issuer or f"https://{block.domain}/",
        block.audience,
        block.algorithms,
        block.require_verified_email,
        block.leeway,
    )
