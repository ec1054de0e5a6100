"""Liveness, readiness, and the contract that the command line reads."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from proxy import __version__
from proxy.config.compile import Compiled
from proxy.exchange import RequestContext
from proxy.http.client_address import Network, in_networks
from proxy.http.response import NO_STORE, Fields, Response, json_response
from proxy.identity.jwks import KeySet
from proxy.noetl.api import HEALTH, NoetlApi
from proxy.noetl.server_facts import health_failure, server_facts
from proxy.relay.event_streams import Drain
from proxy.sessions.store import SessionStore, StoreError
from proxy.upstream.client import UpstreamClient

_CONTRACT = "2026-04-26"
_PROBE_SECONDS = 2.0
_TEXT: Fields = (("content-type", "text/plain; charset=utf-8"), NO_STORE)


@dataclass(frozen=True, slots=True)
class OpsHandlers:
    """The endpoints, with what they look at.

    `operators` are the networks of clients that see in `/ready` which NoETL servers are behind.
    """

    compiled: Compiled
    upstreams: Mapping[str, UpstreamClient]
    store: SessionStore
    key_sets: Mapping[str, KeySet]
    drain: Drain
    apis: Mapping[str, NoetlApi]
    operators: tuple[Network, ...]

    async def health(self, context: RequestContext) -> Response:
        return Response(200, _TEXT, b"ok")

    async def ready(self, context: RequestContext) -> Response:
        names = list(self.upstreams)
        failures = await asyncio.gather(*map(self._failure, names), *(keys.warm() for keys in self.key_sets.values()))
        upstreams = {n: f"unreachable: {why}" if why else "ok" for n, why in zip(names, failures, strict=False)}
        try:
            await self.store.check()
            sessions = "ok"
        except StoreError:
            sessions = "unavailable"
        keys = {domain: key_set.state for domain, key_set in self.key_sets.items()}
        draining = self.drain.started
        fine = (
            not draining
            and sessions == "ok"
            and set(upstreams.values()) <= {"ok"}
            and set(keys.values()) <= {"ok", "stale"}
        )
        body = {"ready": fine, "upstreams": upstreams, "sessions": sessions, "key_sets": keys, "draining": draining}
        if in_networks(context.head.address, self.operators):
            body["servers"] = {name: server_facts(api.known)._asdict() for name, api in self.apis.items()}
        return json_response(body, 200 if fine else 503)

    async def _failure(self, name: str) -> str:
        api = self.apis.get(name)
        if api is not None:
            return await health_failure(api, _PROBE_SECONDS)
        return await self.upstreams[name].failure(HEALTH, _PROBE_SECONDS)

    async def contract(self, context: RequestContext) -> Response:
        gateway = self.compiled.loaded.gateway
        application = gateway.auth.application
        tenants = gateway.auth.tenants
        domain = application.domain or gateway.auth.default_tenant or (tenants[0].domain if len(tenants) == 1 else "")
        auth0 = {
            "domain": domain,
            "client_id": application.client_id,
            "redirect_uri": application.redirect_uri,
            "audience": application.audience,
        }
        document: dict[str, Any] = {
            "gateway_version": __version__,
            "contract_version": _CONTRACT,
            "summary": "noetl-edge relays /noetl/* to the NoETL API and serves GraphQL and sessions itself",
            "routes": {entry.pattern.text: list(entry.methods) for entry in self.compiled.routes.entries},
            "proxy_contract": {
                "prefix": "/noetl",
                "upstream_prefix": "/api",
                "auth": "Authorization: Bearer <session>",
            },
            "cli_operation_mapping": {
                "execute": "POST /noetl/execute",
                "status": "GET /noetl/executions/{execution_id}/status",
                "cancel": "POST /noetl/executions/{execution_id}/cancel",
                "catalog.list": "POST /noetl/catalog/list",
                "catalog.register": "POST /noetl/catalog/register",
            },
        }
        if domain:
            document["auth0"] = {name: value for name, value in auth0.items() if value}
        return json_response(document)
