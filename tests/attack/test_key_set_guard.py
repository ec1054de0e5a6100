"""The key-set guard: a flood of unknown key ids, and key sets that a provider should never serve."""

from __future__ import annotations

import asyncio
import gzip
import json
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import httpx
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from proxy.identity.documents import DocumentClient
from proxy.identity.jwks import KeySet, KeySetSettings, KeySetUnavailable
from proxy.identity.local import LocalProvider, LoginAttempt, SessionSettings
from proxy.identity.tokens import InvalidToken
from proxy.sessions.memory import MemoryStore
from tests.attack.table import Tally
from tests.secretsearch import RUN
from tests.unit.identity.test_tokens import STRANGER, TENANT, encoded, key_entries, token

LIFETIME, COOLDOWN, STALE = 600.0, 30.0, 3600.0
GOOD = json.dumps({"keys": key_entries()}).encode()
EVIL = json.dumps({"keys": [{**RSAAlgorithm.to_jwk(STRANGER.public_key(), as_dict=True), "kid": "evil"}]}).encode()
AMBIGUOUS = [key_entries()[0], {**RSAAlgorithm.to_jwk(STRANGER.public_key(), as_dict=True), "kid": "free"}]
Respond = Callable[[httpx.Request], Any]


@dataclass
class Provider:
    """Logins at a gateway whose identity provider answers as told, on a clock of its own."""

    logins: LocalProvider
    keys: KeySet
    now: float = 0.0
    respond: Respond = lambda _: httpx.Response(200, content=GOOD)
    times: list[float] = field(default_factory=list)

    async def login(self, text: str) -> str:
        """`in`, `refused`, or `unavailable`."""
        RUN.used(text.partition(".")[2], "claims and signature of a token")
        try:
            await self.logins.login(LoginAttempt(text, None, None, "127.0.0.1", "x"))
        except InvalidToken as error:
            RUN.came_out("why a token was refused", repr(error))
            return "refused"
        except KeySetUnavailable as error:
            RUN.came_out("why a login was refused", repr(error))
            return "unavailable"
        return "in"


@asynccontextmanager
async def provider() -> AsyncIterator[Provider]:
    """A provider, nothing fetched yet."""
    holder: list[Provider] = []

    async def answer(request: httpx.Request) -> httpx.Response:
        found = holder[0]
        found.times.append(found.now)
        response = found.respond(request)
        answered: httpx.Response = await response if asyncio.iscoroutine(response) else response
        return answered

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
        settings = KeySetSettings(LIFETIME, COOLDOWN, 0.05, STALE, 32)
        keys = KeySet("https://tenant.test/jwks", settings, DocumentClient(client), clock=lambda: holder[0].now)
        sessions = SessionSettings(8, 24, 0, 0)
        logins = LocalProvider({"tenant.test": (TENANT, keys)}, "tenant.test", MemoryStore(), sessions)
        holder.append(Provider(logins, keys))
        yield holder[0]


async def test_ten_thousand_logins_with_random_key_ids_cause_one_fetch_per_cooldown(
    show: Callable[[str], None],
) -> None:
    """And a genuine rotation in the middle of them is picked up within the cooldown."""
    fresh = rsa.generate_private_key(65537, 2048)
    rotated = [*key_entries(), {**RSAAlgorithm.to_jwk(fresh.public_key(), as_dict=True), "kid": "fresh"}]
    tail = token().split(".", 1)[1]
    flood, seconds, rotation = 10_000, 100.0, 45.0
    async with provider() as idp:
        assert await idp.login(token()) == "in"
        picked_up = None
        for number in range(flood):
            idp.now = seconds * number / flood
            if idp.now >= rotation:
                idp.respond = lambda _: httpx.Response(200, content=json.dumps({"keys": rotated}).encode())
            text = encoded(json.dumps({"alg": "RS256", "kid": secrets.token_hex(8)}).encode()) + "." + tail
            assert await idp.login(text) == "refused"
            waiting = idp.now >= rotation and picked_up is None and number % 10 == 0
            if waiting and await idp.login(token(key=fresh, kid="fresh")) == "in":
                picked_up = idp.now - rotation
        assert await idp.login(token()) == "in"
    fetches = idp.keys.fetches
    show(
        f"key-set guard: {flood} logins with random key ids within {seconds:g} s caused {fetches} fetches "
        f"(cooldown {COOLDOWN:g} s); a rotation was picked up after {picked_up:.1f} s"
    )
    assert fetches <= 1 + seconds // COOLDOWN
    assert all(later - sooner >= COOLDOWN for sooner, later in pairwise(idp.times))
    assert picked_up is not None
    assert picked_up <= COOLDOWN


async def test_logins_at_once_with_unknown_key_ids_share_one_fetch() -> None:
    async with provider() as idp:
        texts = [token(kid=secrets.token_hex(8)) for _ in range(100)]
        assert set(await asyncio.gather(*map(idp.login, texts))) == {"refused"}
    assert idp.keys.fetches == 1


async def _never(_: httpx.Request) -> httpx.Response:
    await asyncio.sleep(30)
    raise AssertionError("it was waited for")


async def _trickle(_: httpx.Request) -> httpx.Response:
    async def body() -> AsyncIterator[bytes]:
        while True:
            yield b" "
            await asyncio.sleep(0.01)

    return httpx.Response(200, content=body())


def _broken(request: httpx.Request) -> httpx.Response:
    raise httpx.ReadError("reset", request=request)


BAD_SETS: dict[str, Respond] = {
    "huge": lambda _: httpx.Response(200, content=b'{"keys": [' + b" " * 300_000 + b"]}"),
    "too many keys": lambda _: httpx.Response(200, content=json.dumps({"keys": key_entries() * 10}).encode()),
    "never answers": _never,
    "trickles": _trickle,
    "breaks off": _broken,
    "not JSON": lambda _: httpx.Response(200, content=b"<html>"),
    "half": lambda _: httpx.Response(200, content=GOOD[:-5]),
    "nested": lambda _: httpx.Response(200, content=b"[" * 200_000),
    "not UTF-8": lambda _: httpx.Response(200, content=b"\xff\xfe\xfd"),
    "a list": lambda _: httpx.Response(200, content=b"[]"),
    "null": lambda _: httpx.Response(200, content=b"null"),
    "empty": lambda _: httpx.Response(200, content=b""),
    "emptied": lambda _: httpx.Response(200, content=b'{"keys": []}'),
    "keys a text": lambda _: httpx.Response(200, content=b'{"keys": "evil"}'),
    "keys that are none": lambda _: httpx.Response(200, content=b'{"keys": [null, 5, "x"]}'),
    "all ambiguous": lambda _: httpx.Response(200, content=json.dumps({"keys": AMBIGUOUS}).encode()),
    "a redirect": lambda _: httpx.Response(302, headers={"location": "https://evil.test/jwks"}, content=EVIL),
    "a permanent redirect": lambda _: httpx.Response(308, headers={"location": "https://evil.test/jwks"}, content=EVIL),
    "404 with keys": lambda _: httpx.Response(404, content=EVIL),
    "500 with keys": lambda _: httpx.Response(500, content=EVIL),
    "206 with keys": lambda _: httpx.Response(206, content=EVIL),
    "compressed": lambda _: httpx.Response(200, headers={"content-encoding": "gzip"}, content=gzip.compress(EVIL)),
}


async def test_a_bad_key_set_takes_no_login_down_and_lets_nothing_in(tally: Callable[[str], Tally]) -> None:
    with tally("bad key sets") as counts:
        for name, respond in BAD_SETS.items():
            async with provider() as idp:
                first = await idp.login(token())
                idp.respond = respond
                idp.now = LIFETIME + 1
                stale = await idp.login(token())
                forged = await idp.login(token(key=STRANGER, kid="evil"))
                idp.now = LIFETIME + STALE + COOLDOWN + 2
                late = [await idp.login(text) for text in (token(), token(key=STRANGER, kid="evil"))]
                idp.respond = lambda _: httpx.Response(200, content=GOOD)
                idp.now += COOLDOWN + 1
                again = await idp.login(token())
                got = (first, stale, forged, late, again)
            counts.check(name, got == ("in", "in", "refused", ["unavailable", "unavailable"], "in"), got)


async def test_a_bad_key_set_at_the_start_lets_nothing_in(tally: Callable[[str], Tally]) -> None:
    with tally("bad key sets at the start") as counts:
        for name, respond in BAD_SETS.items():
            async with provider() as idp:
                idp.respond = respond
                got = [await idp.login(text) for text in (token(), token(key=STRANGER, kid="evil"))]
            counts.check(name, got == ["unavailable", "unavailable"], got)
