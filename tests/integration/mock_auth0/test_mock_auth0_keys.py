"""Keys that are announced, rotated, removed, weak or ambiguous, as the gateway sees them."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from mock_auth0.server import Server
from tests.integration.harness import gateway_running
from tests.integration.mock_auth0.provider import client_of
from tests.integration.mock_auth0.test_mock_auth0_broken_tokens import CONFIGURATION, Pair


async def kids(server: Server) -> list[str]:
    async with client_of(server) as client:
        return [key["kid"] for key in (await client.get("/.well-known/jwks.json")).json()["keys"]]


async def test_an_announced_key_signs_from_the_next_rotation_on(server: Server, tenant: httpx.AsyncClient) -> None:
    ring = server.program.default.ring
    old, new = ring.current.kid, ring.announce().kid
    assert await kids(server) == [old, new]
    assert ring.current.kid == old
    ring.rotate()
    assert ring.current.kid == new
    assert await kids(server) == [old, new]
    ring.remove_old()
    assert await kids(server) == [new]


async def test_a_gateway_accepts_tokens_of_both_keys_after_a_rotation(server: Server, tmp_path: Path) -> None:
    ring = server.program.default.ring
    async with gateway_running(tmp_path, CONFIGURATION.format(issuer=server.url)) as gateway:
        pair, old = Pair(server, gateway), ring.current.kid
        ring.announce()
        assert (await pair.login())[0] == 200
        ring.rotate()
        assert [(await pair.login(kid=kid))[0] for kid in (old, ring.current.kid)] == [200, 200]


async def test_a_gateway_refuses_tokens_of_a_removed_key(server: Server, tmp_path: Path) -> None:
    ring = server.program.default.ring
    ring.rotate()
    ring.remove(ring.current.kid)
    async with gateway_running(tmp_path, CONFIGURATION.format(issuer=server.url)) as gateway:
        status, answer = await Pair(server, gateway).login()
        assert (status, answer["error"]) == (401, "Invalid token: unknown key")


async def test_a_gateway_refuses_an_ambiguous_key_alone(server: Server, tmp_path: Path) -> None:
    ring = server.program.default.ring
    other = ring.current.kid
    ring.rotate()
    ring.duplicate()
    assert (await kids(server)).count(ring.current.kid) == 2
    async with gateway_running(tmp_path, CONFIGURATION.format(issuer=server.url)) as gateway:
        pair = Pair(server, gateway)
        status, answer = await pair.login()
        assert (status, answer["error"]) == (401, "Invalid token: unknown key")
        assert (await pair.login(kid=other))[0] == 200


async def test_a_gateway_refuses_a_published_weak_key(server: Server, tmp_path: Path) -> None:
    weak = server.program.default.ring.publish_weak()
    assert weak.kid in await kids(server)
    async with gateway_running(tmp_path, CONFIGURATION.format(issuer=server.url)) as gateway:
        pair = Pair(server, gateway)
        assert (await pair.login(broken="weak-key"))[0] == 401
        assert (await pair.login())[0] == 200


@pytest.mark.parametrize("operation", ["announce", "rotate", "duplicate"])
async def test_the_number_of_published_keys_is_bounded(server: Server, operation: str) -> None:
    ring = server.program.default.ring
    for _ in range(15):
        ring.duplicate()
    with pytest.raises(ValueError, match="remove old ones"):
        getattr(ring, operation)()
