"""Build an upstream of the configuration: its urls with pools, circuit breakers, TLS and health checks."""

from __future__ import annotations

import ssl
from pathlib import Path

from proxy.config.model_upstreams import Upstream, noetl_upstreams
from proxy.upstream.balance import Balance, Balancer, Endpoint
from proxy.upstream.circuit_breaker import CircuitBreaker, CircuitBreakerSettings
from proxy.upstream.client import UpstreamClient
from proxy.upstream.health import HealthSettings
from proxy.upstream.pool import Pool, PoolSettings
from proxy.upstream.retry import RetryPolicy


def make_upstream(name: str, block: Upstream, folder: Path) -> UpstreamClient:
    """Return the client of an upstream.

    Args:
        name: the name of the upstream.
        block: its configuration.
        folder: the folder of the configuration file, to which paths are relative.

    Raises:
        OSError: `tls.ca` can't be read.
    """
    alone = len(block.urls) == 1
    endpoints = tuple(_endpoint(url.rstrip("/"), block, folder, alone=alone) for url in block.urls)
    hash_on = block.hash_on or ("execution_id" if block.balance == "consistent_hash" else None)
    balancer = Balancer(endpoints, Balance(block.balance), hash_on)
    title = "NoETL server" if noetl_upstreams({name: block}) else f"Upstream {name}"
    client = UpstreamClient(name, balancer, _retries(block), _health(block), title)
    client.made_of = made_of(block, folder)
    return client


def made_of(block: Upstream, folder: Path) -> tuple[Upstream, bytes]:
    """Return the identity of an upstream: if it is equal in two configurations, they can share a client."""
    authorities = block.tls.ca if block.tls else None
    return block, (folder / authorities).read_bytes() if authorities else b""


def _health(block: Upstream) -> HealthSettings | None:
    given = block.health
    if given is None:
        return None
    return HealthSettings(given.path, given.interval, given.timeout, given.unhealthy_after, given.healthy_after)


def _endpoint(url: str, block: Upstream, folder: Path, *, alone: bool) -> Endpoint:
    settings = PoolSettings(
        block.connect_timeout,
        block.response_timeout,
        block.idle_timeout,
        block.max_connections,
        block.max_pending,
        block.user_share,
    )
    pool = Pool(url, settings, _tls(url, block, folder), block.tls.server_name if block.tls else None)
    limits = block.circuit
    circuit = CircuitBreaker(CircuitBreakerSettings(limits.failures, limits.window, limits.open)) if limits else None
    return Endpoint(pool, circuit, alone=alone)


def _tls(url: str, block: Upstream, folder: Path) -> ssl.SSLContext | None:
    if not url.startswith("https:"):
        return None
    authorities = block.tls.ca if block.tls else None
    context = ssl.create_default_context(cafile=str(folder / authorities) if authorities else None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


def _retries(block: Upstream) -> RetryPolicy:
    given = block.retries
    return RetryPolicy(
        given.attempts,
        connect="connect" in given.on,
        reset="reset" in given.on,
        statuses=frozenset(int(item) for item in given.on if item.isdigit()),
        methods=frozenset(given.methods),
    )
