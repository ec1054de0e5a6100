"""The PyPI packages Authlib and auth0-python."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from auth0.authentication import Database, GetToken, RevokeToken, Users
from auth0.authentication.exceptions import Auth0Error
from auth0.authentication.token_verifier import AsymmetricSignatureVerifier, TokenVerifier
from authlib.common.security import generate_token
from authlib.integrations.base_client import OAuthError
from authlib.integrations.httpx_client import AsyncOAuth2Client
from joserfc import jwt
from joserfc.jwk import KeySet

from mock_auth0.server import Server
from mock_auth0.tls import NAMES, own_authority
from tests.integration.mock_auth0.provider import client_of, running
from tests.integration.mock_auth0.test_mock_auth0_signing_in import CALLBACK, submit

EMAIL = "user@example.com"
SERVICE = ("noetl-service", "noetl-service-secret")
API = "https://api.example"


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    """The file of the authority that signed the certificate."""
    return tmp_path / "ca.pem"


@pytest.fixture
async def secure(authority: Path) -> AsyncIterator[Server]:
    """A provider with https."""
    async with running(tls=own_authority(authority, NAMES)) as server:
        yield server


async def test_authlib_signs_in_refreshes_and_revokes(secure: Server, authority: Path) -> None:
    trusting = ssl.create_default_context(cafile=str(authority))
    async with client_of(secure, verify=trusting) as browser:
        document = (await browser.get("/.well-known/openid-configuration")).json()
        keys = KeySet.import_key_set((await browser.get("/.well-known/jwks.json")).json())
        async with AsyncOAuth2Client(
            "noetl-gateway",
            redirect_uri=CALLBACK,
            scope="openid email offline_access",
            code_challenge_method="S256",
            token_endpoint_auth_method="none",
            verify=trusting,
            trust_env=False,
        ) as client:
            verifier = generate_token(48)
            address, state = client.create_authorization_url(
                document["authorization_endpoint"], code_verifier=verifier, nonce="the nonce"
            )
            back = await submit(browser, await browser.get(address))
            token = await client.fetch_token(
                document["token_endpoint"],
                authorization_response=back.headers["location"],
                state=state,
                code_verifier=verifier,
            )
            claims = jwt.decode(token["id_token"], keys, algorithms=["RS256"]).claims
            assert (claims["email"], claims["nonce"], claims["iss"]) == (EMAIL, "the nonce", secure.url)
            assert (await client.get(document["userinfo_endpoint"])).json()["email"] == EMAIL
            fresh = await client.refresh_token(document["token_endpoint"])
            assert fresh["refresh_token"] != token["refresh_token"]
            await client.revoke_token(document["revocation_endpoint"], token=fresh["refresh_token"])
            with pytest.raises(OAuthError, match="invalid_grant"):
                await client.refresh_token(document["token_endpoint"], refresh_token=fresh["refresh_token"])


async def test_auth0_python_has_tokens_users_and_their_verification(
    secure: Server, authority: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority))
    domain = secure.url.removeprefix("https://").rstrip("/")
    await asyncio.to_thread(_use_auth0_python, domain)


def _use_auth0_python(domain: str) -> None:
    tokens = GetToken(domain, "noetl-gateway")
    login = {"username": EMAIL, "password": "password", "realm": "Username-Password-Authentication"}
    given = tokens.login(**login, scope="openid email offline_access", audience=API)
    keys = AsymmetricSignatureVerifier(f"https://{domain}/.well-known/jwks.json")
    verifier = TokenVerifier(keys, f"https://{domain}/", "noetl-gateway")
    assert verifier.verify(given["id_token"])["email"] == EMAIL
    assert Users(domain).userinfo(given["access_token"])["email"] == EMAIL
    fresh = tokens.refresh_token(given["refresh_token"])
    assert fresh["expires_in"] == 86_400
    RevokeToken(domain, "noetl-gateway").revoke_refresh_token(fresh["refresh_token"])
    with pytest.raises(Auth0Error, match="Unknown or invalid refresh token"):
        tokens.refresh_token(fresh["refresh_token"])
    with pytest.raises(Auth0Error, match="Wrong email or password"):
        tokens.login(**{**login, "password": "guess"})
    assert GetToken(domain, *SERVICE).client_credentials(API)["token_type"] == "Bearer"
    added = Database(domain, "noetl-gateway").signup("new@example.com", "long enough", login["realm"])
    assert added["email"] == "new@example.com"
