"""The key-set guard over HTTP: 10,000 logins with random key ids from one address, while another one signs in."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count, pairwise
from pathlib import Path
from typing import Any

from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from tests.attack.table import Tally
from tests.integration.harness import RULES, Running, gateway_running, upstream_running
from tests.unit.identity.test_tokens import claims, encoded, key_entries, token

ISSUER = "http://localhost:1/"
FLOOD, AT_ONCE = 10_000, 20
COOLDOWN = 2.0
EVIL, GOOD = "203.0.113.9", "198.51.100.7"


@dataclass
class Provider:
    """What the tenant's key set is, and when it was fetched."""

    keys: list[dict[str, Any]]
    times: list[float] = field(default_factory=list)

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/jwks":
            self.times.append(time.monotonic())
            return web.json_response({"keys": self.keys})
        return web.json_response({})


@asynccontextmanager
async def tenant(folder: Path) -> AsyncIterator[tuple[Running, Provider]]:
    """A gateway behind a trusted proxy, with no limit but the guard's."""
    provider = Provider(key_entries())
    async with upstream_running() as upstream:
        upstream.answer = provider.answer
        one = f"{{domain: localhost, issuer: '{ISSUER}', audience: [web], jwks_url: 'http://localhost:{upstream.port}/jwks'}}"
        text = (
            "server: {trusted_proxies: [127.0.0.0/8]}\n"
            f"auth: {{tenants: [{one}], jwks: {{cooldown: {COOLDOWN:g}s}}, throttle: {{after: 0}}}}\n"
            f"upstreams: {{noetl: {{urls: ['http://127.0.0.1:{upstream.port}']}}}}\n"
            f"routes: [{{path: /api/auth/login, handler: auth.login, methods: [POST]}}]\n{RULES}"
        )
        async with gateway_running(folder, text) as gateway:
            yield gateway, provider


def good(**signed: Any) -> str:
    return token(claims(iss=ISSUER, email="anna@staff.test"), **signed)


async def login(gateway: Running, text: str, address: str) -> int:
    fields = {"x-forwarded-for": address}
    body = {"auth0_token": text}
    async with gateway.client.post(f"{gateway.url}/api/auth/login", json=body, headers=fields) as answer:
        await answer.read()
        return answer.status


async def test_ten_thousand_logins_of_one_address_cost_one_fetch_per_cooldown_and_keep_nobody_out(
    tmp_path: Path, tally: Callable[[str], Tally], show: Callable[[str], None]
) -> None:
    fresh = rsa.generate_private_key(65537, 2048)
    added = {**RSAAlgorithm.to_jwk(fresh.public_key(), as_dict=True), "kid": "fresh"}
    tail = good().split(".", 1)[1]
    left = count()
    begun = rotated = picked_up = 0.0

    def goes_on(number: int) -> bool:
        """Return whether the flood goes on: as long as it takes until the rotation is picked up."""
        return number < FLOOD or (not picked_up and time.monotonic() - begun < 4 * COOLDOWN)

    async with tenant(tmp_path) as (gateway, provider):
        with tally("key-set flood over HTTP") as counts:

            async def flood() -> None:
                while goes_on(number := next(left)):
                    head = json.dumps({"alg": "RS256", "typ": "JWT", "kid": secrets.token_hex(8)})
                    status = await login(gateway, f"{encoded(head.encode())}.{tail}", EVIL)
                    counts.check(f"unknown key {number}", status == 401, status)

            counts.check("before", await login(gateway, good(), GOOD) == 200, refused=False)
            begun = time.monotonic()
            flooding = [asyncio.create_task(flood()) for _ in range(AT_ONCE)]
            while not all(task.done() for task in flooding):
                await asyncio.wait(flooding, timeout=0.1)
                counts.check("a good login meanwhile", await login(gateway, good(), GOOD) == 200, refused=False)
                if not rotated and time.monotonic() - begun > COOLDOWN:
                    provider.keys, rotated = [*key_entries(), added], time.monotonic()
                if rotated and not picked_up:
                    status = await login(gateway, good(key=fresh, kid="fresh"), GOOD)
                    picked_up = time.monotonic() if status == 200 else 0.0
            seconds = time.monotonic() - begun
            await asyncio.gather(*flooding)

    fetches = len(provider.times)
    show(
        f"key-set guard over HTTP: {next(left) - AT_ONCE} logins with random key ids from one address within "
        f"{seconds:.1f} s caused {fetches} fetches (cooldown {COOLDOWN:g} s); another address picked a rotation up "
        f"after {picked_up - rotated:.1f} s"
    )
    assert fetches <= 2 + seconds / COOLDOWN
    assert all(later - sooner >= COOLDOWN * 0.95 for sooner, later in pairwise(provider.times[1:]))
    assert 0 < picked_up - rotated <= COOLDOWN + 1
