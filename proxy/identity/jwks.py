"""The key set of a tenant (RFC 7517), which is found by discovery, fetched, limited in size and cached.

Only one fetch runs at a time; unknown key ids and failures cause at most one fetch per cooldown; an expired set is used
for a limited time while fetches fail. URLs from a token are not used.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import httpx

from proxy.identity.discovery import read_discovery, well_known
from proxy.identity.documents import DocumentClient
from proxy.identity.keys import KeysOfId, parse_key_set

T = TypeVar("T")


class KeySetUnavailable(Exception):
    """No key set is available. The text is for the log; `retry_after` is in seconds."""

    def __init__(self, text: str, retry_after: float) -> None:
        self.retry_after = retry_after
        super().__init__(text)


@dataclass(frozen=True, slots=True)
class KeySetSettings:
    """The settings of the block `auth.jwks`; times are in seconds.

    Args:
        lifetime: how long a set, and where it is, are cached.
        cooldown: the minimum time between fetches for unknown key ids or after failures.
        timeout: the maximum time for one fetch, of the set or of the discovery document.
        stale_for: how long an expired set is used while fetches fail.
        max_keys: the maximum number of keys in a set.
    """

    lifetime: float
    cooldown: float
    timeout: float
    stale_for: float
    max_keys: int


@dataclass(slots=True)
class KeySet:
    """The key set of one tenant.

    Args:
        url: the address of the set; None: it is found by discovery.
        settings: times and limits.
        client: fetches the documents.
        clock: a monotonic clock, in seconds.
        issuer: the issuer, for discovery.
        fetches: the number of fetches of the set so far.
        failures: the number of those that failed.
    """

    url: str | None
    settings: KeySetSettings
    client: DocumentClient
    clock: Callable[[], float] = time.monotonic
    issuer: str = ""
    fetches: int = 0
    failures: int = 0
    _keys: dict[str, KeysOfId] = field(default_factory=dict)
    _found: str | None = None
    _found_at: float = float("-inf")
    _fetched_at: float = float("-inf")
    _tried_at: float = float("-inf")
    _problem: str = "not fetched yet"
    _fetching: asyncio.Task[None] | None = None

    async def find(self, key_id: str) -> KeysOfId | None:
        """Return the keys with this id, or None. Raises KeySetUnavailable if no key set is available."""
        if self._age() >= self.settings.lifetime or key_id not in self._keys:
            await self._refresh()
        if self._age() >= self.settings.lifetime + self.settings.stale_for:
            wait = max(1.0, self._tried_at + self.settings.cooldown - self.clock())
            raise KeySetUnavailable(f"no key set from {self.url or self.issuer}: {self._problem}", wait)
        return self._keys.get(key_id)

    def is_like(self, other: KeySet) -> bool:
        """Return True if two sets are fetched in the same way, from the same place."""
        mine, its = ((k.url, k.issuer, k.settings, k.client) for k in (self, other))
        return mine == its

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
            self._fetching = self.client.start(self._fetch())
            self._fetching.add_done_callback(self._fetched)
        fetching = self._fetching
        await asyncio.wait([fetching])  # unlike shield(), raises no CancelledError if the client was closed
        if not fetching.cancelled():
            fetching.result()

    def _fetched(self, task: asyncio.Task[None]) -> None:
        self._fetching = None
        if task.cancelled():
            self._problem = "its configuration is no longer in use"

    async def _fetch(self) -> None:
        url, doubt = await self._locate()
        self.fetches += 1
        keys, problem = await self._get(url, lambda data: parse_key_set(data, self.settings.max_keys))
        if keys is None:
            self.failures += 1
            self._found_at = float("-inf")
            self._problem = "; ".join(filter(None, (doubt, problem)))
        else:
            self._keys, self._fetched_at = keys, self.clock()

    async def _locate(self) -> tuple[str, str]:
        """Return the URL of the set, and why it was not found by discovery, if that was tried.

        Without a usable document that is the URL found last, else the one that Auth0 uses, of the issuer's own host.
        """
        if self.url is not None:
            return self.url, ""
        if self._found is not None and self.clock() - self._found_at < self.settings.lifetime:
            return self._found, ""
        document = well_known(self.issuer, "openid-configuration")
        url, problem = await self._get(document, lambda data: read_discovery(data, self.issuer))
        if url is None:
            return self._found or well_known(self.issuer, "jwks.json"), problem
        self._found, self._found_at = url, self.clock()
        return url, ""

    async def _get(self, url: str, read: Callable[[bytes], T]) -> tuple[T | None, str]:
        """Return what is read from the document at a URL, or None and the reason why it can't be had."""
        try:
            async with asyncio.timeout(self.settings.timeout):
                return read(await self.client.get(url)), ""
        except TimeoutError:
            return None, f"{url}: no response within {self.settings.timeout:g} s"
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, RecursionError) as error:
            return None, f"{url}: {type(error).__name__}: {error}"
