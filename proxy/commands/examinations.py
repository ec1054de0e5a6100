"""The examinations of `noetl-edge doctor`. Each waits a few seconds at most."""

from __future__ import annotations

import asyncio
import os
import resource
import stat
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Literal

import httpx

from proxy.config.compile import Compiled
from proxy.gateway import Gateway, own_url
from proxy.identity.jwks import KeySet
from proxy.noetl.api import HEALTH, NoetlApi
from proxy.noetl.server_facts import health_failure, server_facts
from proxy.sessions.memory import MemoryStore
from proxy.sessions.opening import redis_settings, session_folder
from proxy.sessions.store import StoreError
from proxy.upstream.client import UpstreamClient

_SECONDS = 3.0
_SKEW_TO_WARN = 5.0
_REMEDIES = {
    "its name does not resolve": "check the host in urls, and the DNS of this machine",
    "connection refused": "start the server, or correct host and port in urls",
    "no connection in time": "is a firewall between, or the host wrong?",
    "no response within 3 s": "the server accepts connections but does not answer; see its log",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one examination: `mark`, what was examined, and what was found or how to mend it."""

    mark: Literal["ok", "warn", "FAIL"]
    what: str
    text: str


async def examine_all(compiled: Compiled, files_needed: int) -> list[Finding]:
    """Return all findings; `files_needed` is the number of open files that the gateway may need."""
    gateway = Gateway(compiled, MemoryStore())
    try:
        upstreams = await asyncio.gather(
            *(_upstream(name, up, gateway.apis.get(name)) for name, up in gateway.upstreams.items())
        )
        tenants = [(domain, keys) for domain, (_, keys) in gateway.provider.tenants.items()]
        key_sets = await asyncio.gather(*(_key_set(domain, keys) for domain, keys in tenants))
        async with httpx.AsyncClient(follow_redirects=False, timeout=_SECONDS) as client:
            clock = await _clock(client, [keys.url or keys.issuer for _, keys in tenants])
            public = await _public_url(client, own_url(compiled.loaded.gateway.server))
        stores = [await _redis(compiled)] if compiled.loaded.gateway.sessions.store == "redis" else []
    finally:
        await gateway.close()
    return [*upstreams, *key_sets, *stores, clock, *_folders(compiled), _open_files(files_needed), public]


async def _upstream(name: str, upstream: UpstreamClient, api: NoetlApi | None) -> Finding:
    what = f"upstream {name}"
    urls = ", ".join(endpoint.pool.url for endpoint in upstream.endpoints)
    started = time.perf_counter()
    failure = await (health_failure(api, _SECONDS) if api is not None else upstream.failure(HEALTH, _SECONDS))
    if not failure:
        text = f"{urls} answers in {(time.perf_counter() - started) * 1000:.0f} ms"
        found = server_facts(api.known) if api is not None else None
        return Finding("ok", what, text + (f"; dialect {found.dialect}, release {found.release}" if found else ""))
    remedy = _REMEDIES.get(failure)
    if failure.startswith("certificate refused"):
        remedy = f"set upstreams.{name}.tls.ca to the authority of the certificate, or tls.server_name to its name"
    return Finding("FAIL", what, f"{urls}: {failure}" + (f"; {remedy}" if remedy else ""))


async def _key_set(domain: str, keys: KeySet) -> Finding:
    what = f"tenant {domain}"
    await keys.warm()
    if keys.state == "ok":
        return Finding("ok", what, f"the key set of {keys.url or keys.issuer} was fetched")
    remedy = "nobody can sign in; check domain, issuer and jwks_url, and whether this machine reaches the internet"
    return Finding("FAIL", what, f"no key set of {keys.url or keys.issuer}: {keys.problem}; {remedy}")


async def _clock(client: httpx.AsyncClient, urls: Iterable[str]) -> Finding:
    """Compare the clock with the `Date` of the key sets' servers: tokens are valid for a time."""
    for url in urls:
        try:
            response = await client.get(url)
            there = parsedate_to_datetime(response.headers["date"]).timestamp()
        except (httpx.HTTPError, httpx.InvalidURL, KeyError, ValueError, TypeError):
            continue
        skew = time.time() - there
        if abs(skew) <= _SKEW_TO_WARN:
            return Finding("ok", "clock", f"agrees with {httpx.URL(url).host}")
        mark: Literal["warn", "FAIL"] = "FAIL" if abs(skew) > 30 else "warn"
        word = "ahead of" if skew > 0 else "behind"
        return Finding(mark, "clock", f"{abs(skew):.0f} s {word} {httpx.URL(url).host}: synchronise it (NTP)")
    return Finding("warn", "clock", "not compared: no server of a key set answered")


async def _public_url(client: httpx.AsyncClient, url: str) -> Finding:
    what = "public_url"
    try:
        response = await client.get(f"{url}/health")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        remedy = "start the gateway, or correct server.public_url"
        return Finding("warn", what, f"{url}: {type(error).__name__}, nobody answers; {remedy}")
    if response.status_code == 200 and response.text == "ok":
        return Finding("ok", what, f"{url} leads to a gateway")
    return Finding("FAIL", what, f"{url}/health answers {response.status_code}, not this gateway: correct it")


async def _redis(compiled: Compiled) -> Finding:
    from proxy.sessions.redis.store import RedisStore

    store = RedisStore(redis_settings(compiled))
    started = time.perf_counter()
    try:
        await store.check()
        taken, version, advice = (time.perf_counter() - started) * 1000, await store.version(), await store.advice()
    except StoreError as error:
        return Finding("FAIL", "session store", str(error))
    finally:
        await store.close()
    text = f"Redis {version} at {store.settings.address} answers in {taken:.0f} ms"
    return Finding("warn", "session store", f"{text}; {advice}") if advice else Finding("ok", "session store", text)


def _folders(compiled: Compiled) -> Iterator[Finding]:
    gateway = compiled.loaded.gateway
    if gateway.sessions.store == "file":
        yield _folder("sessions.path", session_folder(compiled), private=True)
    if gateway.audit is not None and gateway.audit.file != "-":
        yield _folder("audit.file", (compiled.loaded.file.parent / gateway.audit.file).resolve().parent, private=False)


def _folder(what: str, folder: Path, *, private: bool) -> Finding:
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        return Finding("FAIL", what, f"{there} is not writable for this user: change its owner, or the setting")
    mode = stat.S_IMODE(there.stat().st_mode)
    if private and there == folder and mode & 0o077:
        return Finding("FAIL", what, f"{there} can be read by other users: chmod 700 {there}")
    return Finding("ok", what, f"{folder} is writable" if there == folder else f"{folder} will be made")


def _open_files(wanted: int) -> Finding:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY or hard >= wanted:
        return Finding("ok", "open files", f"{wanted} at most, {hard} allowed")
    return Finding("warn", "open files", f"{wanted} may be needed, {hard} are allowed: ulimit -n {wanted}")
