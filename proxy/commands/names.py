"""Host names of a configuration that this machine can't resolve."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from urllib.parse import urlsplit

from proxy.config.compile import Compiled
from proxy.config.model_identity import issuer_of
from proxy.config.problems import Path, Problem

_SECONDS = 2.0
_AT_ONCE = 16


def unresolved_names(compiled: Compiled) -> tuple[Problem, ...]:
    """Return a warning for each host name of a configuration that does not resolve."""
    named = dict(_names(compiled))
    failed = unresolved(named.values())
    document = compiled.loaded.document
    return tuple(document.problem(path, _text(name, failed[name])) for path, name in named.items() if name in failed)


def unresolved(names: Iterable[str]) -> dict[str, str]:
    """Return the names that do not resolve, with the reason; all are looked up at once, for two seconds at most."""
    executor = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="resolve")
    lookups = {executor.submit(_failure, name): name for name in dict.fromkeys(names)}
    done, _ = wait(lookups, timeout=_SECONDS)
    executor.shutdown(wait=False, cancel_futures=True)
    return {lookups[future]: future.result() for future in done if future.result()}


def _text(name: str, why: str) -> str:
    return f'"{name}" does not resolve here ({why.lower()}): is the name right, and known where the gateway runs?'


def _names(compiled: Compiled) -> Iterator[tuple[Path, str]]:
    gateway = compiled.loaded.gateway
    if _is_name(gateway.server.host):
        yield ("server", "host"), gateway.server.host
    for name, upstream in gateway.upstreams.items():
        for index, url in enumerate(upstream.urls):
            host = urlsplit(url).hostname or ""
            if _is_name(host):
                yield ("upstreams", name, "urls", index), host
    for index, tenant in enumerate(gateway.auth.tenants):
        host = urlsplit(issuer_of(tenant)).hostname or ""
        if _is_name(host):
            yield ("auth", "tenants", index, "issuer" if tenant.issuer else "domain"), host


def _is_name(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return host not in ("", "localhost")
    return False


def _failure(name: str) -> str:
    """Return why a name does not resolve; an empty text if it does."""
    try:
        socket.getaddrinfo(name, None)
    except (OSError, UnicodeError) as error:
        return str(getattr(error, "strerror", None) or error)
    return ""
