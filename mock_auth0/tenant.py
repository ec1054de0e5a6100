"""The tenant: one object with the data of all endpoints."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass

from .keys import SigningKey
from .messages import OAuthError
from .state import (
    CODE_SECONDS,
    SESSION_SECONDS,
    TRANSACTION_SECONDS,
    Authorization,
    Code,
    RefreshTokens,
    Session,
    Table,
)
from .tokens import ACCESS_TOKEN_SECONDS, Minter
from .users import Client, Directory, Grant, User


@dataclass(frozen=True, slots=True)
class AuthorizeRequest:
    """A valid `/authorize` request (OpenID Connect Core, 3.1.2.1).

    Args:
        client: the client.
        redirect_uri: the redirect URI, which is on the allow-list.
        response_types: the values of `response_type`.
        response_mode: how the result is sent.
        scope: the requested scopes.
        prompt: the values of `prompt`.
        audience: the API identifier, or None.
        state: the `state` of the client, or None.
        nonce: the nonce, or None.
        challenge: the PKCE challenge, or None.
        max_age: the maximum age of the login, in seconds, or None.
        login_hint: the user name to show in the form.
    """

    client: Client
    redirect_uri: str
    response_types: frozenset[str]
    response_mode: str
    scope: tuple[str, ...]
    prompt: frozenset[str] = frozenset()
    audience: str | None = None
    state: str | None = None
    nonce: str | None = None
    challenge: str | None = None
    max_age: int | None = None
    login_hint: str = ""


class Tenant:
    """Users, clients, key and state of one running provider."""

    def __init__(self, directory: Directory, issuer: str, key: SigningKey) -> None:
        self.directory = directory
        self.issuer = issuer
        self.key = key
        self.minter = Minter(issuer, key)
        self.transactions: Table[AuthorizeRequest] = Table(TRANSACTION_SECONDS)
        self.sessions: Table[Session] = Table(SESSION_SECONDS)
        self.codes: Table[Code] = Table(CODE_SECONDS)
        # Stored longer than a code is valid, so that a replay also revokes the tokens of the first use.
        self.spent_codes: Table[str] = Table(SESSION_SECONDS)
        self.refresh_tokens = RefreshTokens()

    def client(self, client_id: str | None, secret: str | None) -> Client:
        """Return the authenticated client.

        Raises:
            OAuthError: the client is unknown, or the secret is wrong; the text is the same for both.
        """
        client = self.directory.clients.get(client_id or "")
        if client is None or not client.accepts_secret(secret):
            raise OAuthError(401, "access_denied", "Unauthorized")
        return client

    def user_of(self, grant: Authorization) -> User:
        """Return the user of a grant."""
        user = self.directory.user(grant.subject)
        if user is None:
            raise OAuthError(403, "invalid_grant", "The user no longer exists.")
        return user

    def open_session(self, user: User) -> tuple[str, Session]:
        """Create a browser session; return the value of its cookie and the session."""
        session = Session(sid=secrets.token_urlsafe(24), subject=user.subject, auth_time=int(time.time()))
        return self.sessions.add(session), session

    def token_answer(
        self, grant: Authorization, family: str | None = None, *, refresh_token: str | None = None
    ) -> dict[str, object]:
        """Return the response of the token endpoint (RFC 6749, 5.1), with a refresh token if it was requested."""
        user = self.user_of(grant)
        access_token = self.minter.access_token(grant)
        answer: dict[str, object] = {"access_token": access_token}
        allowed = Grant.REFRESH in self.directory.clients[grant.client_id].grants
        if refresh_token is None and allowed and "offline_access" in grant.scope:
            refresh_token = self.refresh_tokens.issue(grant, family or secrets.token_urlsafe(16))
        if refresh_token is not None:
            answer["refresh_token"] = refresh_token
        if "openid" in grant.scope:
            answer["id_token"] = self.minter.id_token(user, grant, access_token)
        answer |= {"scope": " ".join(grant.scope), "expires_in": ACCESS_TOKEN_SECONDS, "token_type": "Bearer"}
        return answer
