"""Builds the configured tenants: what their tokens must have, what counts of them, and their key sets."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

import httpx

from proxy.config.model_identity import Auth, Tenant, issuer_of
from proxy.identity.documents import DocumentClient
from proxy.identity.jwks import KeySet, KeySetSettings
from proxy.identity.principal import TenantTrust
from proxy.identity.tokens import TenantSettings
from proxy.policy.acl import AccessPolicy

Tenants = Mapping[str, tuple[TenantSettings, KeySet]]


@cache
def _system_context() -> ssl.SSLContext:
    """Return a context that trusts the authorities of the system. They are read once: that takes 20 ms of CPU."""
    return httpx.create_ssl_context()


class KeySetClients:
    """The HTTP clients that fetch key sets, one for each set of trusted authorities.

    Args:
        timeout: the maximum time for each step of a fetch, in seconds.
        before: the clients of the last configuration, which are used again if they are the same.
    """

    def __init__(self, timeout: float, before: KeySetClients | None = None) -> None:
        self._timeout = timeout
        self._known = dict(before._clients) if before is not None and before._timeout == timeout else {}
        self._clients: dict[bytes, DocumentClient] = {}

    def trusting(self, authorities: Path | None) -> DocumentClient:
        """Return the client that trusts the authorities in a PEM file, or those of the system.

        Raises:
            OSError: the file can't be read.
            ssl.SSLError: it contains no certificates.
        """
        content = authorities.read_bytes() if authorities is not None else b""
        client = self._clients.get(content) or self._known.get(content)
        if client is None:
            trusts_file = authorities is not None
            context = ssl.create_default_context(cafile=str(authorities)) if trusts_file else _system_context()
            client = DocumentClient(httpx.AsyncClient(timeout=self._timeout, verify=context))
        self._clients[content] = client
        return client

    async def close(self, others: Iterable[KeySetClients] = ()) -> None:
        """Close the clients that none of `others` uses; fetches with them end."""
        used = [client for other in others for client in other._clients.values()]
        unused = [client for client in self._clients.values() if client not in used]
        await asyncio.gather(*(client.close() for client in unused))


def make_tenants(auth: Auth, folder: Path, clients: KeySetClients, before: Tenants | None = None) -> Tenants:
    """Return the tenants by their domain in lower case.

    Args:
        auth: the block of the configuration.
        folder: the folder of the configuration file, to which paths are relative.
        clients: fetch the key sets.
        before: the tenants of the last configuration; a key set that is still the same is used again.

    Raises:
        OSError, ssl.SSLError: see `KeySetClients.trusting`.
    """
    jwks = auth.jwks
    settings = KeySetSettings(jwks.lifetime, jwks.cooldown, jwks.timeout, jwks.stale_for, jwks.max_keys)
    known = [keys for _, keys in before.values()] if before is not None else []
    tenants = {}
    for block in auth.tenants:
        tenant = tenant_settings(block)
        authorities = block.tls.ca if block.tls is not None else None
        client = clients.trusting(folder / authorities if authorities is not None else None)
        wanted = KeySet(block.jwks_url, settings, client, issuer=tenant.issuer)
        tenants[block.domain.lower()] = (tenant, next((keys for keys in known if keys.is_like(wanted)), wanted))
    return tenants


def tenant_settings(block: Tenant) -> TenantSettings:
    """Return what the tokens of a tenant must have."""
    return TenantSettings(block.domain, issuer_of(block), block.audience, block.algorithms, block.leeway)


def used_claims(policy: AccessPolicy, tenants: Iterable[Tenant]) -> frozenset[str]:
    """Return the names of the claims that roles and rules use, or that carry roles."""
    return policy.claims | {block.roles_claim for block in tenants if block.roles_claim is not None}


def trust_in(tenants: Iterable[Tenant]) -> dict[str, TenantTrust]:
    """Return what counts of the tokens of each tenant, by its domain in lower case."""
    return {
        block.domain.lower(): TenantTrust(block.roles_claim, block.email_verified == "assumed") for block in tenants
    }
