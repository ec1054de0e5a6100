"""Every broken token is refused by the gateway, and every unusual one is accepted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

from mock_auth0.broken import BROKEN, UNUSUAL
from mock_auth0.server import Server
from tests.integration.harness import Running, gateway_running
from tests.integration.mock_auth0.provider import running

pytestmark = pytest.mark.asyncio(loop_scope="module")
CONFIGURATION = """
auth:
  throttle: {{after: 0}}
  jwks: {{cooldown: 100ms}}
  tenants: [{{domain: localhost, issuer: "{issuer}", audience: [noetl-gateway]}}]
rate_limits: {{login: {{limit: 1000/second, burst: 1000, key: ip}}}}
upstreams: {{noetl: {{urls: ["http://127.0.0.1:1"]}}}}
acl:
  roles: {{developer: {{emails: [dev@example.com]}}}}
  rules: [{{allow: ["*"], roles: [developer], playbooks: ["**"]}}]
"""


@dataclass(frozen=True, slots=True)
class Pair:
    """A provider, and a gateway that trusts it."""

    auth0: Server
    gateway: Running

    async def login(self, **fields: Any) -> tuple[int, dict[str, Any]]:
        """Mint a token, and log in with it."""
        token = self.auth0.program.default.mint({"user": "dev@example.com", **fields})["token"]
        async with self.gateway.client.post(
            f"{self.gateway.url}/api/auth/login", json={"auth0_token": token}
        ) as response:
            return response.status, await response.json()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pair(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Pair]:
    async with running() as auth0:
        text = CONFIGURATION.format(issuer=auth0.url)
        async with gateway_running(tmp_path_factory.mktemp("gateway"), text) as gateway:
            yield Pair(auth0, gateway)


async def test_a_good_token_is_accepted(pair: Pair) -> None:
    status, answer = await pair.login()
    assert (status, answer["user"]["email"], answer["user"]["roles"]) == (200, "dev@example.com", ["developer"])


@pytest.mark.parametrize("name", BROKEN)
async def test_a_broken_token_is_refused(pair: Pair, name: str) -> None:
    status, answer = await pair.login(broken=name)
    assert (status, answer["error"].partition(":")[0]) == (401, "Invalid token"), answer
    assert "session_token" not in answer


@pytest.mark.parametrize("name", UNUSUAL)
async def test_an_unusual_token_is_accepted(pair: Pair, name: str) -> None:
    status, answer = await pair.login(broken=name)
    assert status == 200, answer


@pytest.mark.parametrize("name", [name for name in UNUSUAL if name.startswith("email-")])
async def test_an_email_that_does_not_count_gives_no_role(pair: Pair, name: str) -> None:
    _, answer = await pair.login(broken=name)
    assert answer["user"]["roles"] == []


async def log_out(pair: Pair, **fields: Any) -> int:
    """Send a logout token to the gateway; return the status of the response."""
    wanted = {"user": "dev@example.com", "client_id": "noetl-gateway", "kind": "logout_token", **fields}
    form = {"logout_token": pair.auth0.program.default.mint(wanted)["token"]}
    async with pair.gateway.client.post(f"{pair.gateway.url}/api/auth/backchannel-logout", data=form) as response:
        return response.status


async def test_a_good_logout_token_is_accepted(pair: Pair) -> None:
    assert await log_out(pair) == 200


@pytest.mark.parametrize("name", [name for name in BROKEN if name not in {"logout-token", "access-token"}])
async def test_a_broken_logout_token_is_refused(pair: Pair, name: str) -> None:
    assert await log_out(pair, broken=name) == 400
