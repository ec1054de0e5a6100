"""The PyPI packages Authlib and auth0-python, which trust the authority of a provider with https."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from auth0.authentication import Database, GetToken, RevokeToken, Users
from auth0.authentication.exceptions import Auth0Error
from auth0.authentication.token_verifier import AsymmetricSignatureVerifier, TokenVerifier
from authlib.common.security import generate_token
from authlib.integrations.base_client import OAuthError
from authlib.integrations.requests_client import OAuth2Session
from joserfc import jwt
from joserfc.jwk import KeySet

from mock_auth0.server import Server
from mock_auth0.tls import NAMES, own_authority
from tests.e2e.browser import CALLBACK, fill_in_at
from tests.integration.mock_auth0.provider import running

EMAIL = "user@example.com"
SERVICE = ("noetl-service", "noetl-service-secret")
API = "https://api.example"


@pytest.fixture
async def secure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Server]:
    """A provider with https, whose authority the clients trust."""
    authority = tmp_path / "ca.pem"
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority))
    async with running(tls=own_authority(authority, NAMES)) as server:
        yield server


async def test_authlib_signs_in_refreshes_and_revokes(secure: Server, tmp_path: Path) -> None:
    await asyncio.to_thread(_use_authlib, secure.url, tmp_path / "ca.pem")


def _use_authlib(url: str, authority: Path) -> None:
    client = OAuth2Session(
        "noetl-gateway",
        redirect_uri=CALLBACK,
        scope="openid email offline_access",
        code_challenge_method="S256",
        token_endpoint_auth_method="none",
    )
    with client:
        document = client.get(f"{url}.well-known/openid-configuration", withhold_token=True).json()
        keys = KeySet.import_key_set(client.get(document["jwks_uri"], withhold_token=True).json())
        token_endpoint, verifier = document["token_endpoint"], generate_token(48)
        address, state = client.create_authorization_url(
            document["authorization_endpoint"], code_verifier=verifier, nonce="the nonce"
        )
        back = fill_in_at(address, EMAIL, "password", authority=authority).headers["location"]
        token = client.fetch_token(token_endpoint, authorization_response=back, state=state, code_verifier=verifier)
        claims = jwt.decode(token["id_token"], keys, algorithms=["RS256"]).claims
        assert (claims["email"], claims["nonce"], claims["iss"]) == (EMAIL, "the nonce", url)
        assert client.get(document["userinfo_endpoint"]).json()["email"] == EMAIL
        fresh = client.refresh_token(token_endpoint)
        assert fresh["refresh_token"] != token["refresh_token"]
        client.revoke_token(document["revocation_endpoint"], token=fresh["refresh_token"])
        with pytest.raises(OAuthError, match="invalid_grant"):
            client.refresh_token(token_endpoint, refresh_token=fresh["refresh_token"])


async def test_auth0_python_has_tokens_users_and_their_verification(secure: Server) -> None:
    await asyncio.to_thread(_use_auth0_python, secure.url.removeprefix("https://").rstrip("/"))


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
