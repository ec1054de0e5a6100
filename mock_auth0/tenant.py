"""The tenant: one object with the data of all endpoints."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mock_server.randomness import handle

from .directory import Client, Directory, Grant, User
from .dpop import Proofs
from .keys import KeyRing, SigningKey, key_source
from .messages import OAuthError
from .minting import mint
from .state import Authorization, Clock, Code, RefreshTokens, Session, Table
from .tokens import Minter

MAX_ADDED_USERS = 100_000
MAX_SCOPE = 4_096
MAX_AUDIENCE = 2_048
MAX_TRANSACTIONS = 20_000
OPENID_SCOPES = frozenset({"openid", "profile", "email", "address", "phone", "offline_access"})


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
        jkt: the thumbprint of the key that the code is bound to, or None.
        hinted: the `sub` of the user who must sign in, by the `id_token_hint`, or None for any user.
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
    jkt: str | None = None
    hinted: str | None = None


@dataclass(slots=True)
class DeviceGrant:
    """A device that waits for a user (RFC 8628).

    Args:
        client: the client.
        scope: the requested scopes.
        audience: the API identifier, or None.
        user_code: the code that the user types in.
        expires_at: the time when it expires, in seconds since 1970.
        session: the session of the user who allowed it, or None.
        denied: True if the user refused.
        polled_at: the time of the last poll, in seconds since 1970.
    """

    client: Client
    scope: tuple[str, ...]
    audience: str | None
    user_code: str
    expires_at: float
    session: Session | None = None
    denied: bool = False
    polled_at: float = 0.0


Transaction = AuthorizeRequest | DeviceGrant
"""What a login is for."""


@dataclass(frozen=True, slots=True)
class Login:
    """A login page that waits for a user, in the browser that began it: the value of that browser's cookie."""

    request: Transaction
    browser: str


@dataclass(frozen=True, slots=True)
class Decision:
    """A page that waits for a decision of a signed-in user about a request."""

    request: Transaction
    session: Session


class Tenant:
    """Users, clients, keys and state of one running provider.

    Args:
        directory: users, clients and APIs; it may be replaced at any time.
        issuer: the issuer.
        clock: the time.
        source: the random source of all handles.
        ring: the keys.
    """

    def __init__(
        self, directory: Directory, issuer: str, clock: Clock, source: random.Random, ring: KeyRing | None = None
    ) -> None:
        self.directory = directory
        self.issuer = issuer
        self.clock = clock
        self.source = source
        self.ring = ring or KeyRing()
        self.minter = Minter(issuer, self.ring, clock, source)
        self.proofs = Proofs(issuer, clock, source)
        self.logins: Table[Login] = Table(clock, source, MAX_TRANSACTIONS)
        self.decisions: Table[Decision] = Table(clock, source, MAX_TRANSACTIONS)
        self.consents: Table[frozenset[str]] = Table(clock, source)
        self.sessions: Table[Session] = Table(clock, source)
        self.codes: Table[Code] = Table(clock, source)
        # Stored longer than a code is valid, so that a replay also revokes the tokens of the first use.
        self.spent_codes: Table[str] = Table(clock, source)
        self.refresh_tokens = RefreshTokens(clock, source)
        self.devices: Table[DeviceGrant] = Table(clock, source)
        self.user_codes: Table[DeviceGrant] = Table(clock, source)
        self.login_tickets: Table[tuple[str, str]] = Table(clock, source)
        self.assertions: Table[bool] = Table(clock, source)
        self.discovery = b""
        self.issuers: tuple[str, ...] = (issuer,)
        self._added: dict[str, User] = {}

    @classmethod
    def seeded(
        cls,
        directory: Directory,
        issuer: str,
        clock: Clock,
        source: random.Random,
        *,
        seed: str | None,
        name: str = "",
        key: SigningKey | None = None,
    ) -> Tenant:
        """Return a tenant whose keys, but a given first one, come from a seed; without one they are random."""
        return cls(directory, issuer, clock, source, KeyRing(key_source(seed, name), key))

    def replace_directory(self, directory: Directory) -> None:
        """Use another content; sessions, codes, tokens and the users that were added at run time stay."""
        for user in self._added.values():
            directory.put(user)
        self.directory = directory

    def keep_users(self, before: Tenant) -> None:
        """Add the users that were added to a tenant in whose place this one comes."""
        self._added = dict(before._added)
        self.replace_directory(self.directory)

    def add_user(self, user: User, replaced: User | None = None) -> None:
        """Add a user, in place of another one or of that of the same e-mail address, until the program ends.

        Raises:
            OAuthError: there are too many.
        """
        if len(self._added) >= MAX_ADDED_USERS:
            raise OAuthError(429, "too_many_requests", "Too many users were added; restart the sandbox.")
        if replaced is not None and replaced.email.lower() != user.email.lower():
            self.remove_user(replaced)
        self._added[user.email.lower()] = user
        self.directory.put(user)

    def remove_user(self, user: User) -> None:
        """Remove a user until the file is changed, or, if it was added at run time, for good."""
        self._added.pop(user.email.lower(), None)
        self.directory.remove(user)

    def reset(self) -> None:
        """Remove all logins, codes, sessions and tokens; keys and users stay."""
        for table in (self.logins, self.decisions, self.consents, self.sessions, self.codes, self.spent_codes):
            table.clear()
        for more in (self.devices, self.user_codes, self.login_tickets):
            more.clear()
        self.refresh_tokens.clear()

    def mint(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Return any token, good or broken, with its header and claims. Raises MintError."""
        return mint(self.directory, self.minter, self.clock, fields)

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
        """Return the user of a grant. Raises OAuthError if there is none any more, or a blocked one."""
        user = self.directory.user(grant.subject)
        if user is None:
            raise OAuthError(403, "invalid_grant", "The user no longer exists.")
        if user.blocked:
            raise OAuthError(403, "unauthorized", "user is blocked")
        return user

    def open_session(self, user: User) -> tuple[str, Session]:
        """Create a browser session; return the value of its cookie and the session."""
        session = Session(handle(self.source, 24), user.subject, int(self.clock.now()))
        return self.sessions.add(session, self.directory.lifetimes.session), session

    def granted_scope(self, client: Client, scope: tuple[str, ...], audience: str | None) -> tuple[str, ...]:
        """Return the scopes that a client gets.

        Raises:
            OAuthError: there is no such API, or the texts are too long to be stored.
        """
        if sum(map(len, scope)) > MAX_SCOPE or len(audience or "") > MAX_AUDIENCE:
            raise OAuthError(400, "invalid_request", "The scope or the audience is too long.")
        apis = self.directory.apis
        if audience is None or apis is None:
            return scope
        api = apis.get(audience)
        if api is None:
            raise OAuthError(403, "access_denied", f"Service not found: {audience}")
        allowed = scope if api.scopes is None else tuple(s for s in scope if s in api.scopes or s in OPENID_SCOPES)
        return allowed if api.offline_access else tuple(s for s in allowed if s != "offline_access")

    def token_answer(
        self,
        grant: Authorization,
        family: str | None = None,
        *,
        refresh_token: str | None = None,
        changes: Mapping[str, Any] | None = None,
    ) -> dict[str, object]:
        """Return the response of the token endpoint (RFC 6749, 5.1), with a refresh token if it was requested.

        Args:
            grant: the grant.
            family: the family of the refresh token; None: a new one.
            refresh_token: the refresh token to return; None: a new one, if the scope has `offline_access`.
            changes: `claims` and `lifetime` that replace the usual ones.
        """
        directory, user = self.directory, self.user_of(grant)
        access_token = self.minter.access_token(directory, grant, changes=changes)
        answer: dict[str, object] = {"access_token": access_token}
        allowed = Grant.REFRESH in directory.clients[grant.client_id].grants
        if refresh_token is None and allowed and "offline_access" in grant.scope:
            lifetime = directory.lifetimes.refresh_token
            refresh_token = self.refresh_tokens.issue(grant, family or handle(self.source, 16), lifetime)
        if refresh_token is not None:
            answer["refresh_token"] = refresh_token
        if "openid" in grant.scope:
            # As Auth0, without the hash of the access token, which is optional here (OpenID Connect Core, 3.1.3.6).
            answer["id_token"] = self.minter.id_token(directory, user, grant, changes=changes)
        return answer | self.terms(grant, changes)

    def terms(self, grant: Authorization, changes: Mapping[str, Any] | None = None) -> dict[str, object]:
        """Return the scope, the lifetime and the type of an access token."""
        given = changes.get("lifetime") if changes else None
        lifetime = given if isinstance(given, int) else self.minter.access_lifetime(self.directory, grant)
        terms: dict[str, object] = {"scope": " ".join(grant.scope)} if grant.scope else {}
        return terms | {"expires_in": lifetime, "token_type": "DPoP" if grant.jkt else "Bearer"}
