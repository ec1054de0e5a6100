"""Proofs of possession that are missing, stolen, replayed, or for something else."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from mock_auth0.server import Server
from tests.integration.mock_auth0.provider import client_of, running
from tests.integration.mock_auth0.test_mock_auth0_token_endpoint import PASSWORD, SERVICE, unverified

KEY = ec.generate_private_key(ec.SECP256R1())
OTHER = ec.generate_private_key(ec.SECP256R1())
NUMBERS = itertools.count()


class Prover:
    """A client that proves to have a key."""

    def __init__(self, server: Server, tenant: httpx.AsyncClient, key: ec.EllipticCurvePrivateKey = KEY) -> None:
        self.server, self.tenant, self.key = server, tenant, key
        self.nonce: str | None = None

    def proof(self, path: str, method: str = "POST", *, typ: str = "dpop+jwt", **changes: Any) -> str:
        """Return a proof for a request, with changes of its claims."""
        claims = {
            "jti": f"proof {next(NUMBERS)}".replace(" ", "-"),
            "htm": method,
            "htu": f"{self.server.url}{path.removeprefix('/')}",
            "iat": int(self.server.sandbox.clock.now()),
            **({"nonce": self.nonce} if self.nonce else {}),
            **changes,
        }
        header = {"typ": typ, "jwk": ECAlgorithm.to_jwk(self.key.public_key(), as_dict=True)}
        return jwt.encode({k: v for k, v in claims.items() if v is not None}, self.key, "ES256", header)

    async def token(self, form: dict[str, str] = PASSWORD, proof: str | None = None) -> httpx.Response:
        """Request tokens; note the nonce of the response."""
        headers = {"DPoP": proof or self.proof("/oauth/token")}
        answer = await self.tenant.post("/oauth/token", data=form, headers=headers)
        self.nonce = answer.headers.get("dpop-nonce", self.nonce)
        return answer

    async def bound(self) -> dict[str, Any]:
        """Return tokens that are bound to the key, at the second attempt, with a nonce."""
        first = await self.token()
        assert (first.status_code, first.json()["error"]) == (400, "use_dpop_nonce")
        found: dict[str, Any] = (await self.token()).json()
        return found

    async def userinfo(self, token: str, **changes: Any) -> httpx.Response:
        """Request the profile of the user."""
        ath = base64.urlsafe_b64encode(hashlib.sha256(token.encode()).digest()).rstrip(b"=").decode()
        proof = self.proof("/userinfo", "GET", **{"ath": ath, **changes})
        return await self.tenant.get("/userinfo", headers={"Authorization": f"DPoP {token}", "DPoP": proof})


@pytest.fixture
def prover(server: Server, tenant: httpx.AsyncClient) -> Prover:
    return Prover(server, tenant)


async def test_tokens_are_bound_to_the_key(prover: Prover) -> None:
    tokens = await prover.bound()
    assert tokens["token_type"] == "DPoP"
    for_api = (await prover.token(PASSWORD | {"audience": "https://api.example"})).json()
    key = ECAlgorithm.to_jwk(KEY.public_key(), as_dict=True)
    members = json.dumps({name: key[name] for name in ("crv", "kty", "x", "y")}, separators=(",", ":"))
    jkt = base64.urlsafe_b64encode(hashlib.sha256(members.encode()).digest()).rstrip(b"=").decode()
    assert unverified(for_api["access_token"])["cnf"] == {"jkt": jkt}
    assert (await prover.userinfo(tokens["access_token"])).json()["email"] == "user@example.com"


@pytest.mark.parametrize(
    "changes",
    [{"htm": "GET"}, {"htu": "http://elsewhere/oauth/token"}, {"htu": 5}, {"jti": None}, {"jti": ""}, {"iat": None},
     {"htu": "http://["}, {"typ": "JWT"}],
)  # fmt: skip
async def test_a_proof_of_another_request_is_refused(prover: Prover, changes: dict[str, Any]) -> None:
    await prover.bound()
    answer = await prover.token(proof=prover.proof("/oauth/token", **changes))
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_dpop_proof")


@pytest.mark.parametrize(
    ("htu", "status"),
    [
        ("HTTP://AUTH0.TEST:80/oauth/token?a=b#c", 200),
        ("http://auth0.test/oauth/token?", 200),
        ("http://auth0.test:81/oauth/token", 400),
        ("https://auth0.test/oauth/token", 400),
        ("http://user@auth0.test/oauth/token", 400),
        ("http://auth0.test/OAuth/token", 400),
        ("http://auth0.test/", 400),
    ],
)
async def test_address_of_a_proof_is_compared_after_normalisation(htu: str, status: int) -> None:
    async with running(issuer="http://auth0.test/") as server, client_of(server) as tenant:
        prover = Prover(server, tenant)
        assert (await prover.token(SERVICE, prover.proof("/oauth/token", htu=htu))).status_code == status


@pytest.mark.parametrize("proof", ["", "a.b.c", "é", "x" * 9_000])
async def test_what_is_no_proof_is_refused(prover: Prover, proof: str) -> None:
    answer = await prover.tenant.post("/oauth/token", data=PASSWORD, headers=[(b"DPoP", proof.encode())])
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_dpop_proof")


async def test_a_proof_with_a_private_key_is_refused(prover: Prover) -> None:
    header = {"typ": "dpop+jwt", "jwk": ECAlgorithm.to_jwk(KEY, as_dict=True)}
    answer = await prover.token(proof=jwt.encode({"jti": "a", "iat": 1}, KEY, "ES256", header))
    assert answer.json()["error"] == "invalid_dpop_proof"


async def test_a_proof_is_used_once(prover: Prover) -> None:
    await prover.bound()
    proof = prover.proof("/oauth/token")
    assert (await prover.token(proof=proof)).status_code == 200
    assert (await prover.token(proof=proof)).json()["error_description"] == "The DPoP proof was used before"


async def test_an_old_nonce_is_replaced(prover: Prover) -> None:
    await prover.bound()
    old = prover.nonce
    prover.server.sandbox.clock.move(601)
    assert (await prover.token()).json()["error"] == "use_dpop_nonce"
    assert prover.nonce != old
    assert (await prover.token()).status_code == 200


async def test_a_confidential_client_needs_no_nonce_but_the_right_time(prover: Prover) -> None:
    assert (await prover.token(SERVICE)).json()["token_type"] == "DPoP"
    old = prover.proof("/oauth/token", iat=int(prover.server.sandbox.clock.now()) - 400)
    assert (await prover.token(SERVICE, old)).json()["error_description"] == "The DPoP proof is too old"


async def test_a_stolen_access_token_is_useless(prover: Prover) -> None:
    token = (await prover.bound())["access_token"]
    thief = Prover(prover.server, prover.tenant, OTHER)
    thief.nonce = prover.nonce
    assert (await thief.userinfo(token)).status_code == 401
    assert (await prover.userinfo(token, ath="another")).status_code == 401
    bearer = await prover.tenant.get("/userinfo", headers={"Authorization": f"Bearer {token}"})
    assert bearer.status_code == 401


async def test_a_proof_for_userinfo_needs_a_nonce(prover: Prover) -> None:
    token = (await prover.bound())["access_token"]
    prover.nonce = None
    answer = await prover.userinfo(token)
    assert answer.status_code == 401
    assert 'error="use_dpop_nonce"' in answer.headers["www-authenticate"]
    assert "dpop-nonce" in answer.headers


async def test_a_stolen_refresh_token_is_useless(prover: Prover) -> None:
    tokens = await prover.bound()
    form = {"grant_type": "refresh_token", "client_id": "noetl-gateway", "refresh_token": tokens["refresh_token"]}
    assert (await prover.tenant.post("/oauth/token", data=form)).json()["error"] == "invalid_dpop_proof"
    thief = Prover(prover.server, prover.tenant, OTHER)
    thief.nonce = prover.nonce
    assert (await thief.token(form)).json()["error"] == "invalid_dpop_proof"
    assert (await prover.token(form)).status_code == 200


async def test_an_unbound_token_does_not_become_bound(prover: Prover) -> None:
    token = (await prover.tenant.post("/oauth/token", data=PASSWORD)).json()["access_token"]
    assert (await prover.userinfo(token)).status_code == 401
