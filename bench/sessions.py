"""Stored sessions for a gateway. The only module that uses the gateway's own code: 100,000 logins would take long."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from proxy.http.credentials import key_of
from proxy.sessions.file import FileStore
from proxy.sessions.redis.address import read_address
from proxy.sessions.redis.connection import RedisSettings
from proxy.sessions.redis.store import RedisStore
from proxy.sessions.store import Identity, SessionStore, new_session, new_token

# The tenant of the shipped gateway.yaml.
_TENANT = "localhost:8085"
_BATCH, _LIFETIME = 5000, 86400.0


def fill(folder: Path, users: Iterable[tuple[str, str]]) -> list[str]:
    """Store a session for each user, given by e-mail address and name, and return their tokens in the same order."""
    identities = [_identity(*user) for user in users]
    tokens = [new_token() for _ in identities]
    asyncio.run(_fill(FileStore(folder), tokens, identities))
    return tokens


def fill_redis(url: str, tokens: Sequence[str], users: Iterable[tuple[str, str]]) -> None:
    """Store a session with a given token for each user in Redis."""
    store = RedisStore(RedisSettings(read_address(url)))
    asyncio.run(_fill(store, tokens, [_identity(*user) for user in users]))


def _identity(email: str, name: str) -> Identity:
    claims = {"https://noetl.io/roles": ["developer"], "email_verified": True}
    return Identity(f"http://{_TENANT}/", f"auth0|{email}", email, name, _TENANT, claims)


async def _fill(store: SessionStore, tokens: Sequence[str], identities: Sequence[Identity]) -> None:
    for begin in range(0, len(tokens), _BATCH):
        part = slice(begin, begin + _BATCH)
        pairs = zip(tokens[part], identities[part], strict=True)
        await asyncio.gather(*(_store(store, *pair) for pair in pairs))
    await store.close()


async def _store(store: SessionStore, token: str, identity: Identity) -> None:
    key = key_of(token)
    assert key is not None
    session = new_session(key, identity, now=time.time(), lifetime=_LIFETIME, ip="127.0.0.1", user_agent="bench")
    await store.create(key, session, max_per_user=0)
