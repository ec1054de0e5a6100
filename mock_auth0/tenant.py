"""The tenant: one object that holds what every endpoint needs, handed to each of them."""

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
    """A validated `/authorize` request: its client exists and its redirect URI is on the list."""

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
    """Users, clients, key and memory of one running provider."""

    def __init__(self, directory: Directory, issuer: str, key: SigningKey) -> None:
        self.directory = directory
        self.issuer = issuer
        self.key = key
        self.minter = Minter(issuer, key)
        self.transactions: Table[AuthorizeRequest] = Table(TRANSACTION_SECONDS)
        self.sessions: Table[Session] = Table(SESSION_SECONDS)
        self.codes: Table[Code] = Table(CODE_SECONDS)
        # Remembered longer than a code lives, so that a replay also revokes what the first use gave out.
        self.spent_codes: Table[str] = Table(SESSION_SECONDS)
        self.refresh_tokens = RefreshTokens()

    def client(self, client_id: str | None, secret: str | None) -> Client:
        """The authenticated client.

        Raises:
            OAuthError: unknown client or wrong secret; which of the two is not told.
        """
        client = self.directory.clients.get(client_id or "")
        if client is None or not client.accepts_secret(secret):
            raise OAuthError(401, "access_denied", "Unauthorized")
        return client

    def user_of(self, grant: Authorization) -> User:
        """The user the grant is for."""
        user = self.directory.user(grant.subject)
        if user is None:
            raise OAuthError(403, "invalid_grant", "The user does not exist any more.")
        return user

    def open_session(self, user: User) -> tuple[str, Session]:
        """Remember that this browser has signed in; returns the cookie's value and the session."""
        session = Session(sid=secrets.token_urlsafe(24), subject=user.subject, auth_time=int(time.time()))
        return self.sessions.add(session), session

    def token_answer(
        self, grant: Authorization, family: str | None = None, *, refresh_token: str | None = None
    ) -> dict[str, object]:
        """The token endpoint's answer for a user's grant (RFC 6749, 5.1), starting a refresh family if asked for."""
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
