"""The users, clients and APIs of a tenant, and what they may do."""

from __future__ import annotations

import functools
import hashlib
import hmac
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import islice
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from .settings import (
    DEVICE_GRANT,
    MAX_GENERATED,
    REALM_GRANT,
    ApiEntry,
    ClientEntry,
    Dialect,
    Lifetimes,
    TenantEntry,
    UserEntry,
)
from .settings_file import load_file, tenant_entries

# The characters of RFC 3986, 2, without "#": parsers and browsers may treat other characters differently.
_URI = re.compile(r"[A-Za-z0-9._~:/?\[\]@!$&'()*+,;=%-]+")
_GENERATED = re.compile(r"user([0-9]{5,8})@example\.com")
# Twenty-four hexadecimal digits as other users have; the first ten spell "noetl".
_GENERATED_SUBJECT = re.compile(r"auth0\|6e6f65746c([0-9a-f]{14})")


class Grant(StrEnum):
    """The grant types of clients (RFC 6749, RFC 8628, and the password-realm extension of Auth0)."""

    CODE = "authorization_code"
    IMPLICIT = "implicit"
    REFRESH = "refresh_token"
    PASSWORD = "password"  # noqa: S105 - the name of a grant type
    PASSWORD_REALM = REALM_GRANT
    CLIENT_CREDENTIALS = "client_credentials"
    DEVICE = DEVICE_GRANT


@dataclass(frozen=True, slots=True)
class User:
    """A user who can sign in.

    Args:
        subject: the `sub` claim.
        email: the e-mail address.
        password: the password, in plain text.
        name: the full name.
        nickname: the short name.
        email_verified: the claim of this name.
        picture: the claim of this name, or None.
        blocked: True if a login with the right password is refused.
        permissions: the claim of this name, of access tokens.
        claims: further claims of ID tokens.
        access_token_claims: further claims of access tokens.
    """

    subject: str
    email: str
    password: str
    name: str
    nickname: str
    email_verified: bool = True
    picture: str | None = None
    blocked: bool = False
    permissions: tuple[str, ...] = ()
    claims: Mapping[str, object] = field(default_factory=dict)
    access_token_claims: Mapping[str, object] = field(default_factory=dict)

    @classmethod
    def of_entry(cls, entry: UserEntry) -> User:
        """Return the user of an entry of the file."""
        email = entry.email
        identifier = entry.id or hashlib.sha256(email.lower().encode()).hexdigest()[:24]
        return cls(
            subject=f"auth0|{identifier}",
            email=email,
            password=entry.password,
            name=entry.name or email,
            nickname=entry.nickname or email.partition("@")[0],
            email_verified=entry.email_verified,
            picture=entry.picture,
            blocked=entry.blocked,
            permissions=tuple(entry.permissions),
            claims=entry.claims,
            access_token_claims=entry.access_token_claims,
        )

    def profile(self, scope: tuple[str, ...]) -> dict[str, object]:
        """Return the claims for a scope (OpenID Connect Core, 5.4), and the extra claims of the user."""
        shown: dict[str, object] = {"sub": self.subject}
        if "profile" in scope:
            shown |= {"name": self.name, "nickname": self.nickname}
            if self.picture is not None:
                shown["picture"] = self.picture
        if "email" in scope:
            shown |= {"email": self.email, "email_verified": self.email_verified}
        return {**self.claims, **shown}


@dataclass(frozen=True, slots=True)
class Client:
    """A registered application, as in its entry of the file."""

    entry: ClientEntry
    grants: frozenset[Grant]

    @classmethod
    def of_entry(cls, entry: ClientEntry) -> Client:
        """Return the client of an entry of the file."""
        public = entry.client_secret is None and entry.public_key is None
        default = frozenset(Grant) - {Grant.CLIENT_CREDENTIALS} if public else frozenset(Grant)
        return cls(entry, default if entry.grants is None else frozenset(Grant(name) for name in entry.grants))

    @property
    def client_id(self) -> str:
        """The id."""
        return self.entry.client_id

    @property
    def name(self) -> str:
        """The name to show."""
        return self.entry.name or self.entry.client_id

    @property
    def public(self) -> bool:
        """True if the client can't authenticate itself, and must use PKCE."""
        return self.entry.client_secret is None and self.entry.public_key is None

    @property
    def backchannel_logout_uri(self) -> str | None:
        """The URL for logout tokens, or None."""
        return self.entry.backchannel_logout_uri

    def accepts_redirect(self, uri: str) -> bool:
        """Return True if `uri` is on the redirect allow-list of the client."""
        return any(uri_matches(allowed, uri) for allowed in self.entry.redirect_uris)

    def accepts_logout(self, uri: str) -> bool:
        """Return True if a logout may redirect to `uri`."""
        return any(uri_matches(allowed, uri) for allowed in self.entry.logout_urls)

    def accepts_secret(self, secret: str | None) -> bool:
        """Return True if `secret` authenticates this client; a public client needs no secret."""
        if self.public:
            return True
        return self.entry.client_secret is not None and hmac.compare_digest(
            self.entry.client_secret.encode(), (secret or "").encode()
        )


@dataclass(frozen=True, slots=True)
class Api:
    """An API that access tokens are for.

    Args:
        audience: the identifier.
        name: the name to show.
        dialect: the form of access tokens.
        scopes: the scopes that it has; None: any.
        offline_access: True if there are refresh tokens for it.
        lifetime: the lifetime of access tokens in seconds; None: that of the tenant.
        implicit_lifetime: the same for the implicit flow.
    """

    audience: str
    name: str = ""
    dialect: Dialect = "access_token"
    scopes: frozenset[str] | None = None
    offline_access: bool = True
    lifetime: int | None = None
    implicit_lifetime: int | None = None

    @classmethod
    def of_entry(cls, entry: ApiEntry) -> Api:
        """Return the API of an entry of the file."""
        scopes = None if entry.scopes is None else frozenset(entry.scopes)
        return cls(
            audience=entry.audience,
            name=entry.name or entry.audience,
            dialect=entry.token_dialect,
            scopes=scopes,
            offline_access=entry.offline_access,
            lifetime=entry.lifetime,
            implicit_lifetime=entry.implicit_lifetime,
        )


@dataclass(frozen=True)
class Directory:
    """The content of a tenant.

    Args:
        users: the users by `sub`, without the generated ones.
        clients: the clients by id.
        apis: the APIs by identifier; None: any audience is accepted.
        generated: the number of generated users.
        generated_password: their password.
        lifetimes: how long everything is valid.
        claims: further claims of the ID tokens of all users.
        access_token_claims: further claims of all access tokens.
        dpop_nonce: True if DPoP proofs need a nonce.
        opaque_access_tokens: True if access tokens without an audience can't be read by others.
        reuse_seconds: how long a token is issued again for the same content.
    """

    users: dict[str, User]
    clients: Mapping[str, Client]
    apis: Mapping[str, Api] | None = None
    generated: int = 0
    generated_password: str = "password"  # noqa: S105 - of users that exist nowhere else
    lifetimes: Lifetimes = field(default_factory=Lifetimes)
    claims: Mapping[str, object] = field(default_factory=dict)
    access_token_claims: Mapping[str, object] = field(default_factory=dict)
    dpop_nonce: bool = True
    opaque_access_tokens: bool = True
    reuse_seconds: int = 1

    @classmethod
    def of_entry(cls, entry: TenantEntry) -> Directory:
        """Return the directory of a tenant of the file."""
        users = [User.of_entry(each) for each in entry.users]
        apis = None if entry.apis is None else {each.audience: Api.of_entry(each) for each in entry.apis}
        return cls(
            users={user.subject: user for user in users},
            clients={each.client_id: Client.of_entry(each) for each in entry.clients},
            apis=apis,
            generated=entry.generate_users,
            generated_password=entry.generated_password,
            lifetimes=entry.lifetimes,
            claims=entry.claims,
            access_token_claims=entry.access_token_claims,
            dpop_nonce=entry.dpop_nonce,
            opaque_access_tokens=entry.opaque_access_tokens,
            reuse_seconds=entry.reuse_seconds,
        )

    @functools.cached_property
    def _by_email(self) -> dict[str, User]:
        return {user.email.lower(): user for user in self.users.values()}

    def put(self, user: User) -> None:
        """Add a user, or replace those of the same e-mail address and of the same `sub`."""
        for replaced in (self._by_email.get(user.email.lower()), self.users.get(user.subject)):
            if replaced is not None:
                self.remove(replaced)
        self.users[user.subject] = user
        self._by_email[user.email.lower()] = user

    def remove(self, user: User) -> None:
        """Remove a user, unless it is a generated one."""
        self.users.pop(user.subject, None)
        self._by_email.pop(user.email.lower(), None)

    def user(self, subject: str) -> User | None:
        """Return the user with this `sub`, or None."""
        found = self.users.get(subject)
        if found is None and self.generated and (match := _GENERATED_SUBJECT.fullmatch(subject)):
            return self._generate(int(match[1], 16))
        return found

    def by_email(self, email: str) -> User | None:
        """Return the user with this e-mail address, or None."""
        wanted = email.strip().lower()
        found = self._by_email.get(wanted)
        if found is None and self.generated and (match := _GENERATED.fullmatch(wanted)):
            made = self._generate(int(match[1]))
            return made if made is not None and made.email == wanted else None
        return found

    def shown_users(self, limit: int, generated: int = MAX_GENERATED) -> Iterator[User]:
        """Return up to `limit` users, those of the file first, and up to `generated` of the generated ones."""
        yield from islice(self.users.values(), limit)
        for number in range(1, min(self.generated, generated, limit - len(self.users)) + 1):
            made = self._generate(number)
            if made is not None:
                yield made

    @property
    def user_count(self) -> int:
        """The number of users."""
        return len(self.users) + self.generated

    def _generate(self, number: int) -> User | None:
        """Return a generated user, which depends on nothing but its number."""
        if not 1 <= number <= self.generated:
            return None
        name = f"user{number:05d}"
        return User(
            subject=f"auth0|6e6f65746c{number:014x}",
            email=f"{name}@example.com",
            password=self.generated_password,
            name=f"User {number:05d}",
            nickname=name,
        )

    def with_logout_uri(self, uri: str) -> Directory:
        """Return a copy with another `backchannel_logout_uri` for the clients that have one."""
        changed = {
            name: replace(client, entry=client.entry.model_copy(update={"backchannel_logout_uri": uri}))
            if client.backchannel_logout_uri
            else client
            for name, client in self.clients.items()
        }
        return replace(self, clients=changed)

    def authenticate(self, email: str, password: str) -> User | None:
        """Return the user if the password is correct; an unknown address takes as long as a wrong password."""
        user = self.by_email(email)
        expected = user.password if user else ""
        matches = hmac.compare_digest(expected.encode(), password.encode("utf-8", "surrogatepass"))
        return user if matches else None

    def accepts_logout(self, uri: str) -> bool:
        """Return True if any client allows `uri`, for a logout without a client."""
        return any(client.accepts_logout(uri) for client in self.clients.values())

    @functools.cached_property
    def _origins(self) -> frozenset[str]:
        uris = (
            uri for client in self.clients.values() for uri in (*client.entry.web_origins, *client.entry.redirect_uris)
        )
        return frozenset(f"{parts.scheme}://{parts.netloc}" for parts in map(urlsplit, uris))

    def allows_origin(self, origin: str) -> bool:
        """Return True if pages of an origin may read responses."""
        return origin in self._origins or any(
            uri_matches(allowed, origin) for allowed in self._origins if allowed.endswith(":*")
        )


def load(path: Path) -> Directory:
    """Return the default tenant of a file. Raises YamlFileError."""
    return Directory.of_entry(tenant_entries(load_file(path))[""])


def uri_matches(allowed: str, uri: str) -> bool:
    """Return True if a URI equals an allow-list entry; `:*` matches any port; without a path, also any path."""
    if not _URI.fullmatch(uri):
        return False
    entry = urlsplit(allowed)
    if not entry.netloc.endswith(":*"):
        return allowed == uri
    try:
        given = urlsplit(uri)
        port = given.port
    except ValueError:
        return False
    host = entry.netloc.removesuffix(":*")
    same_site = given.scheme == entry.scheme and given.netloc in {host, f"{host}:{port}"}
    path = _behind(allowed, entry)
    return same_site and (not path or path == _behind(uri, given))


def _behind(uri: str, parts: SplitResult) -> str:
    """Return the path and the query of a URI as they are written."""
    return uri[len(f"{parts.scheme}://{parts.netloc}") :]
