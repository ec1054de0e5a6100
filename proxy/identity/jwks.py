"""The key set of a tenant (RFC 7517), which is fetched, limited in size and cached.

Only one fetch runs at a time; unknown key ids and failures cause at most one fetch per cooldown; an expired set is used
for a limited time while fetches fail. Redirects, compressed responses and URLs from a token are rejected.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

_MAX_BYTES = 256 * 1024
_MIN_RSA_BITS = 2048
_KINDS = ("RSA", "EC", "OKP")


class KeySetUnavailable(Exception):
    """No key set is available. The text is for the log; `retry_after` is in seconds."""

    def __init__(self, text: str, retry_after: float) -> None:
        self.retry_after = retry_after
        super().__init__(text)


@dataclass(frozen=True, slots=True)
class Key:
    """A public key for signatures; `algorithm` is the only one it may be used with, if the set names one."""

    key: Any
    kind: str
    algorithm: str | None


@dataclass(frozen=True, slots=True)
class KeySetSettings:
    """The settings of the block `auth.jwks`; times are in seconds.

    Args:
        lifetime: how long a set is cached.
        cooldown: the minimum time between fetches for unknown key ids or after failures.
        timeout: the maximum time for one fetch.
        stale_for: how long an expired set is used while fetches fail.
        max_keys: the maximum number of keys in a set.
    """

    lifetime: float
    cooldown: float
    timeout: float
    stale_for: float
    max_keys: int


def parse_key_set(data: bytes, max_keys: int) -> dict[str, Key]:
    """Return the usable keys of a set by key id, without keys that have no id or a duplicate id.

    Raises:
        ValueError: the data is not a key set, is too large, or has no usable key.
    """
    document = json.loads(data)
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ValueError("not a key set")
    if len(entries) > max_keys:
        raise ValueError(f"more than {max_keys} keys")
    found: dict[str, Key] = {}
    ambiguous: set[str] = set()
    for entry in entries:
        name, key = entry.get("kid"), _usable(entry)
        if not isinstance(name, str) or key is None:
            continue
        if name in found:
            ambiguous.add(name)
        found[name] = key
    usable = {name: key for name, key in found.items() if name not in ambiguous}
    if not usable:
        raise ValueError("no usable key")
    return usable


def _usable(entry: Mapping[str, Any]) -> Key | None:
    if entry.get("kty") not in _KINDS or entry.get("use", "sig") != "sig" or "d" in entry:
        return None
    operations = entry.get("key_ops")
    if operations is not None and (not isinstance(operations, list) or "verify" not in operations):
        return None
    try:
        key = jwt.PyJWK(dict(entry)).key
    except (jwt.PyJWTError, ValueError, TypeError, KeyError):
        return None
    if isinstance(key, RSAPublicKey) and key.key_size < _MIN_RSA_BITS:
        return None
    algorithm = entry.get("alg")
    return Key(key, str(entry["kty"]), algorithm if isinstance(algorithm, str) else None)


@dataclass(slots=True)
class KeySet:
    """The key set of one tenant.

    Args:
        url: the address of the set.
        settings: times and limits.
        client: the HTTP client for fetches.
        clock: a monotonic clock, in seconds.
        fetches: the number of fetches so far.
    """

    url: str
    settings: KeySetSettings
    client: httpx.AsyncClient
    clock: Callable[[], float] = time.monotonic
    fetches: int = 0
    _keys: dict[str, Key] = field(default_factory=dict)
    _fetched_at: float = float("-inf")
    _tried_at: float = float("-inf")
    _problem: str = "not fetched yet"
    _fetching: asyncio.Task[None] | None = None

    async def find(self, key_id: str) -> Key | None:
        """Return the key with this id, or None. Raises KeySetUnavailable if no key set is available."""
        if self._age() >= self.settings.lifetime or key_id not in self._keys:
            await self._refresh()
        if self._age() >= self.settings.lifetime + self.settings.stale_for:
            wait = max(1.0, self._tried_at + self.settings.cooldown - self.clock())
            raise KeySetUnavailable(f"no key set from {self.url}: {self._problem}", wait)
        return self._keys.get(key_id)

    @property
    def state(self) -> str:
        """The state for the readiness check: `ok`, `stale` or `unavailable`."""
        age = self._age()
        if age < self.settings.lifetime:
            return "ok"
        return "stale" if age < self.settings.lifetime + self.settings.stale_for else "unavailable"

    @property
    def problem(self) -> str:
        """Why the last fetch failed, for the log."""
        return self._problem

    async def warm(self) -> None:
        """Fetch the set if it is missing or expired, unless that was tried within the cooldown."""
        if self._age() >= self.settings.lifetime:
            await self._refresh()

    def _age(self) -> float:
        return self.clock() - self._fetched_at

    async def _refresh(self) -> None:
        if self._fetching is None:
            if self.clock() - self._tried_at < self.settings.cooldown:
                return
            self._tried_at = self.clock()
            self._fetching = asyncio.create_task(self._fetch())
            self._fetching.add_done_callback(self._fetched)
        await asyncio.shield(self._fetching)

    def _fetched(self, _: asyncio.Task[None]) -> None:
        self._fetching = None

    async def _fetch(self) -> None:
        self.fetches += 1
        try:
            async with asyncio.timeout(self.settings.timeout):
                keys = parse_key_set(await self._download(), self.settings.max_keys)
        except TimeoutError:
            self._problem = f"no response within {self.settings.timeout:g} s"
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, RecursionError) as error:
            self._problem = f"{type(error).__name__}: {error}"
        else:
            self._keys, self._fetched_at = keys, self.clock()

    async def _download(self) -> bytes:
        accept = {"accept": "application/json", "accept-encoding": "identity"}
        async with self.client.stream("GET", self.url, headers=accept, follow_redirects=False) as response:
            if response.status_code != 200:
                raise ValueError(f"status {response.status_code}")
            if response.headers.get("content-encoding", "identity").lower() != "identity":
                raise ValueError("compressed, although no compression was accepted")
            data = bytearray()
            async for chunk in response.aiter_bytes():
                data += chunk
                if len(data) > _MAX_BYTES:
                    raise ValueError(f"larger than {_MAX_BYTES} bytes")
            return bytes(data)
