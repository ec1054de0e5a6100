"""What can't be reached when a configuration comes into use: the log says it at once, not at the first request."""

from __future__ import annotations

import asyncio

from proxy.gateway import Gateway
from proxy.observe.logs import get_logger

_SECONDS = 3.0


async def warn_of_unreachable(gateway: Gateway) -> None:
    """Log a warning for each upstream that does not respond, and for each tenant whose key set can't be fetched."""
    upstreams = list(gateway.upstreams.items())
    key_sets = [(domain, keys) for domain, (_, keys) in gateway.provider.tenants.items()]
    probes = (upstream.failure("/api/health", _SECONDS) for _, upstream in upstreams)
    failures = await asyncio.gather(*probes, *(keys.warm() for _, keys in key_sets))
    log = get_logger()
    for (name, upstream), failure in zip(upstreams, failures, strict=False):
        if failure:
            urls = [endpoint.pool.url for endpoint in upstream.endpoints]
            log.warning("upstream.unreachable", upstream=name, urls=urls, reason=failure)
    for domain, keys in key_sets:
        if keys.state != "ok":
            log.warning("key_set.unreachable", tenant=domain, url=keys.url or keys.issuer, reason=keys.problem)
