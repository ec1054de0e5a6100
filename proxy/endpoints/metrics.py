"""The endpoint `/metrics`: collects the numbers of this process and of the other workers."""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Protocol

from proxy import __version__
from proxy.config.compile import Compiled
from proxy.errors import NotFound
from proxy.exchange import RequestContext
from proxy.http.response import NO_STORE, Response
from proxy.identity.local import LocalProvider
from proxy.observe.audit import Audit
from proxy.observe.exposition import CONTENT_TYPE, MetricsFolder, exposition
from proxy.observe.metrics import Collected, Metrics, add
from proxy.observe.process import measure_process
from proxy.relay.event_streams import Drain
from proxy.sessions.store import SessionStore, StoreError
from proxy.upstream.circuit_breaker import CircuitState
from proxy.upstream.client import UpstreamClient

_CIRCUIT = {CircuitState.CLOSED: 0, CircuitState.HALF_OPEN: 1, CircuitState.OPEN: 2}
Source = Callable[[Collected], None]


class Measured(Protocol):
    """A gateway, as far as it is measured."""

    compiled: Compiled
    store: SessionStore
    drain: Drain
    upstreams: dict[str, UpstreamClient]
    provider: LocalProvider

    @property
    def audit(self) -> Audit | None:
        """The audit log, if there is one."""


@dataclass(slots=True)
class Measures:
    """The metrics of this process: counters, and `sources` that add values at each scrape."""

    metrics: Metrics = field(default_factory=Metrics)
    sources: list[Source] = field(default_factory=list)
    metrics_folder: MetricsFolder | None = None

    def here(self, gateway: Measured) -> Collected:
        """Return the numbers of this process."""
        out = self.metrics.collect()
        add(out, "noetl_gateway_build_info", (__version__, platform.python_version(), version("aiohttp")), 1)
        measure_upstreams(gateway.upstreams.values(), out)
        with contextlib.suppress(StoreError):
            add(out, "noetl_gateway_sessions", (), gateway.store.count())
        add(out, "noetl_gateway_draining", (), int(gateway.drain.started))
        add(out, "noetl_gateway_event_streams", (), gateway.drain.streams)
        if gateway.audit is not None:
            add(out, "noetl_gateway_audit_failures", (), gateway.audit.failures)
        for domain, (_, keys) in gateway.provider.tenants.items():
            add(out, "noetl_gateway_key_set_fetch_failures", (domain,), keys.failures)
            add(out, "noetl_gateway_key_set_usable", (domain,), int(keys.state != "unavailable"))
        measure_process(out)
        for source in self.sources:
            source(out)
        return out

    def all(self, gateway: Measured) -> Collected:
        """Return the numbers of all workers, added up."""
        mine = self.here(gateway)
        return mine if self.metrics_folder is None else self.metrics_folder.merged(mine)


def measure_upstreams(clients: Iterable[UpstreamClient], out: Collected) -> None:
    """Add the numbers of upstreams: of their pools, retry budgets and circuit breakers."""
    for client in clients:
        add(out, "noetl_gateway_upstream_retries", (client.name,), client.budget.spent)
        add(out, "noetl_gateway_upstream_retries_refused", (client.name,), client.budget.refused)
        for endpoint in client.endpoints:
            pool, who = endpoint.pool, (client.name, endpoint.pool.url)
            add(out, "noetl_gateway_upstream_requests", who, pool.requests)
            for number, count in enumerate(pool.answers):
                if count or 2 <= number <= 5:
                    add(out, "noetl_gateway_upstream_responses", (*who, f"{number}xx"), count)
            for kind, count in pool.faults.items():
                add(out, "noetl_gateway_upstream_faults", (*who, kind.value), count)
            add(out, "noetl_gateway_upstream_connections", (*who, "busy"), pool.busy)
            add(out, "noetl_gateway_upstream_connections", (*who, "idle"), pool.size - pool.busy)
            add(out, "noetl_gateway_upstream_pending", who, pool.waiting)
            if endpoint.circuit is not None:
                add(out, "noetl_gateway_upstream_circuit", who, _CIRCUIT[endpoint.circuit.state])
            add(out, "noetl_gateway_upstream_healthy", who, int(endpoint.is_usable(pool.now())))


@dataclass(frozen=True, slots=True)
class MetricsHandler:
    """The endpoint."""

    measures: Measures
    gateway: Measured

    async def handle(self, context: RequestContext) -> Response:
        """Return all numbers in the text format of Prometheus."""
        if not self.gateway.compiled.loaded.gateway.metrics.enabled:
            raise NotFound(detail="metrics.enabled is false")
        body = exposition(self.measures.all(self.gateway))
        return Response(200, (("content-type", CONTENT_TYPE), NO_STORE), body)
