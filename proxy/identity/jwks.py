"""A tenant's key set (RFC 7517), fetched, bounded and cached.

One fetch at a time; unknown key ids and failures cause at most one fetch per cooldown; an expired set may serve while
fetches fail, for a while. It follows no redirects, decompresses nothing, and believes no url that came with a token.
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
    """There is no usable key set. The text is for the log; `retry_after` is in seconds."""

    def __init__(self, text: str, retry_after: float) -> None:
        self.retry_after = retry_after
        super().__init__(text)


@dataclass(frozen=True, slots=True)
class Key:
    """A public key that may verify signatures; `algorithm` is the one it is bound to, if the set says so."""

    key: Any
    kind: str
    algorithm: str | None


@dataclass(frozen=True, slots=True)
class KeySetSettings:
    """Times in seconds; see the `auth.jwks` block."""

    lifetime: float
    cooldown: float
    timeout: float
    stale_for: float
    max_keys: int


def parse_key_set(data: bytes, max_keys: int) -> dict[str, Key]:
    """The usable keys of a set by key id; keys without an id and ids that are there twice can't be chosen.

    Raises ValueError if it is not a key set, is too large, or has no usable key.
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
    """The key set of one tenant. `clock` is a monotonic clock in seconds."""

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
        """The key of this id; None if the set has none. Raises KeySetUnavailable if there is no set to look in."""
        if self._age() >= self.settings.lifetime or key_id not in self._keys:
            await self._refresh()
        if self._age() >= self.settings.lifetime + self.settings.stale_for:
            wait = max(1.0, self._tried_at + self.settings.cooldown - self.clock())
            raise KeySetUnavailable(f"no key set from {self.url}: {self._problem}", wait)
        return self._keys.get(key_id)

    @property
    def state(self) -> str:
        """`ok`, `stale` or `unavailable`, for readiness."""
        age = self._age()
        if age < self.settings.lifetime:
            return "ok"
        return "stale" if age < self.settings.lifetime + self.settings.stale_for else "unavailable"

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
            self._problem = f"no answer within {self.settings.timeout:g} s"
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
                raise ValueError("compressed, though that was not asked for")
            data = bytearray()
            async for chunk in response.aiter_bytes():
                data += chunk
                if len(data) > _MAX_BYTES:
                    raise ValueError(f"larger than {_MAX_BYTES} bytes")
            return bytes(data)
