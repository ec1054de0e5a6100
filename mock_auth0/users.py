"""The users and clients of the sandbox tenant, from a YAML file.

An unknown key, a wrong type or a duplicate is an error that names the file and the key; otherwise a typing mistake
would show only as a failed login. Passwords are plain text: never use a real password in this sandbox.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from urllib.parse import urlsplit

import yaml

DEFAULT_FILE = Path(__file__).with_name("users.yaml")

RESERVED_CLAIMS = frozenset(
    {
        *("iss", "sub", "aud", "iat", "exp", "nbf", "jti", "azp", "nonce", "sid", "auth_time", "at_hash", "c_hash"),
        *("scope", "gty", "email", "email_verified", "name", "nickname"),
    }
)

# The characters of RFC 3986, 2, without "#": parsers and browsers may treat other characters differently.
_URI = re.compile(r"[A-Za-z0-9._~:/?\[\]@!$&'()*+,;=%-]+")


class UsersFileError(ValueError):
    """The users file is invalid; the message is one line with the file and the key."""


class Grant(StrEnum):
    """The grant types of clients (RFC 6749, and the password-realm extension of Auth0)."""

    CODE = "authorization_code"
    IMPLICIT = "implicit"
    REFRESH = "refresh_token"
    PASSWORD = "password"  # noqa: S105 - the name of a grant type
    PASSWORD_REALM = "http://auth0.com/oauth/grant-type/password-realm"  # noqa: S105 - the name of a grant type
    CLIENT_CREDENTIALS = "client_credentials"


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
        claims: further claims.
    """

    subject: str
    email: str
    password: str
    name: str
    nickname: str
    email_verified: bool
    claims: Mapping[str, object]

    def profile(self, scope: tuple[str, ...]) -> dict[str, object]:
        """Return the claims for a scope (OpenID Connect Core, 5.4), and the extra claims of the user."""
        shown: dict[str, object] = {"sub": self.subject}
        if "profile" in scope:
            shown |= {"name": self.name, "nickname": self.nickname}
        if "email" in scope:
            shown |= {"email": self.email, "email_verified": self.email_verified}
        return {**self.claims, **shown}


@dataclass(frozen=True, slots=True)
class Client:
    """A registered application; it is public if it has no secret.

    Args:
        client_id: the id.
        name: the name to show.
        secret: the secret, or None.
        redirect_uris: the allow-list for logins.
        logout_urls: the allow-list for logouts.
        grants: the grant types that it may use.
        backchannel_logout_uri: the URL for logout tokens, or None.
    """

    client_id: str
    name: str
    secret: str | None
    redirect_uris: tuple[str, ...]
    logout_urls: tuple[str, ...]
    grants: frozenset[Grant]
    backchannel_logout_uri: str | None = None

    @property
    def public(self) -> bool:
        """True if the client has no secret and must use PKCE."""
        return self.secret is None

    def accepts_redirect(self, uri: str) -> bool:
        """Return True if `uri` is on the redirect allow-list of the client."""
        return any(uri_matches(allowed, uri) for allowed in self.redirect_uris)

    def accepts_logout(self, uri: str) -> bool:
        """Return True if a logout may redirect to `uri`."""
        return any(uri_matches(allowed, uri) for allowed in self.logout_urls)

    def accepts_secret(self, secret: str | None) -> bool:
        """Return True if `secret` authenticates this client; a public client needs no secret."""
        if self.secret is None:
            return True
        return hmac.compare_digest(self.secret.encode(), (secret or "").encode())


@dataclass(frozen=True, slots=True)
class Directory:
    """The content of the users file."""

    users: Mapping[str, User]
    clients: Mapping[str, Client]

    def user(self, subject: str) -> User | None:
        """Return the user with this `sub`, or None."""
        return self.users.get(subject)

    def by_email(self, email: str) -> User | None:
        """Return the user with this e-mail address, or None."""
        wanted = email.strip().lower()
        return next((each for each in self.users.values() if each.email.lower() == wanted), None)

    def with_logout_uri(self, uri: str) -> Directory:
        """Return a copy with another `backchannel_logout_uri` for the clients that have one."""
        changed = {
            name: replace(client, backchannel_logout_uri=uri) if client.backchannel_logout_uri else client
            for name, client in self.clients.items()
        }
        return replace(self, clients=changed)

    def authenticate(self, email: str, password: str) -> User | None:
        """Return the user if the password is correct; an unknown address takes as long as a wrong password."""
        user = self.by_email(email)
        expected = user.password if user else ""
        matches = hmac.compare_digest(expected.encode(), password.encode())
        return user if matches else None

    def accepts_logout(self, uri: str) -> bool:
        """Return True if any client allows `uri`, for a logout without a client."""
        return any(client.accepts_logout(uri) for client in self.clients.values())


def uri_matches(allowed: str, uri: str) -> bool:
    """Return True if a URI equals an allow-list entry; `:*` matches any port, and any path if none is given."""
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
    return same_site and (entry.path in {"", given.path})


class _Node:
    """A value in the YAML document, with its key path."""

    def __init__(self, file: str, path: str, value: object) -> None:
        self.file, self.path, self.value = file, path, value

    def fail(self, problem: str) -> UsersFileError:
        where = f"{self.file}: {self.path}" if self.path else self.file
        return UsersFileError(f"{where}: {problem}")

    def mapping(self, known: frozenset[str] | None = None) -> dict[str, _Node]:
        if not isinstance(self.value, dict):
            raise self.fail("must be a mapping")
        children: dict[str, _Node] = {}
        for key, value in self.value.items():
            child = _Node(self.file, f"{self.path}.{key}" if self.path else str(key), value)
            if not isinstance(key, str) or (known is not None and key not in known):
                raise child.fail(f"unknown key (known: {', '.join(sorted(known or ()))})")
            children[key] = child
        return children

    def items(self) -> Iterator[_Node]:
        if not isinstance(self.value, list):
            raise self.fail("must be a list")
        for index, value in enumerate(self.value):
            yield _Node(self.file, f"{self.path}[{index}]", value)

    def text(self) -> str:
        if not isinstance(self.value, str) or not self.value:
            raise self.fail("must be a non-empty string")
        return self.value

    def flag(self) -> bool:
        if not isinstance(self.value, bool):
            raise self.fail("must be true or false")
        return self.value


_USER_KEYS = frozenset({"email", "password", "name", "nickname", "email_verified", "id", "claims"})
_CLIENT_KEYS = frozenset(
    {"client_id", "name", "client_secret", "redirect_uris", "logout_urls", "grants", "backchannel_logout_uri"}
)


def load(path: Path) -> Directory:
    """Return the content of a users file.

    Raises:
        UsersFileError: the file can't be read, is not YAML, or is invalid.
    """
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsersFileError(f"{path}: {error.strerror or 'cannot be read'}") from None
    except UnicodeDecodeError:
        raise UsersFileError(f"{path}: is not UTF-8 text") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise UsersFileError(f"{path}: {where}{error.problem}") from None
    except yaml.YAMLError as error:
        raise UsersFileError(f"{path}: {' '.join(str(error).split())}") from None
    return _directory(_Node(str(path), "", document))


def _directory(root: _Node) -> Directory:
    keys = root.mapping(frozenset({"users", "clients"}))
    users: dict[str, User] = {}
    emails: set[str] = set()
    clients: dict[str, Client] = {}
    for node in _required(root, keys, "users").items():
        user = _user(node)
        if user.email.lower() in emails or user.subject in users:
            raise node.fail(f"{user.email} is a duplicate (same email or id)")
        emails.add(user.email.lower())
        users[user.subject] = user
    for node in _required(root, keys, "clients").items():
        client = _client(node)
        if client.client_id in clients:
            raise node.fail(f"client {client.client_id} is a duplicate")
        clients[client.client_id] = client
    return Directory(users=users, clients=clients)


def _required(parent: _Node, keys: Mapping[str, _Node], key: str) -> _Node:
    if key not in keys:
        raise parent.fail(f"{key} is missing")
    return keys[key]


def _user(node: _Node) -> User:
    keys = node.mapping(_USER_KEYS)
    email = _required(node, keys, "email").text()
    if "@" not in email:
        raise keys["email"].fail("must be an email address")
    identifier = keys["id"].text() if "id" in keys else hashlib.sha256(email.lower().encode()).hexdigest()[:24]
    return User(
        subject=f"auth0|{identifier}",
        email=email,
        password=_required(node, keys, "password").text(),
        name=keys["name"].text() if "name" in keys else email,
        nickname=keys["nickname"].text() if "nickname" in keys else email.partition("@")[0],
        email_verified=keys["email_verified"].flag() if "email_verified" in keys else True,
        claims=_claims(keys["claims"]) if "claims" in keys else {},
    )


def _claims(node: _Node) -> dict[str, object]:
    claims = node.mapping()
    for name, child in claims.items():
        if name in RESERVED_CLAIMS:
            raise child.fail("this claim is set by the server")
        try:
            json.dumps(child.value, allow_nan=False)
        except (TypeError, ValueError):
            raise child.fail("must be a JSON value (quote dates)") from None
    return {name: child.value for name, child in claims.items()}


def _client(node: _Node) -> Client:
    keys = node.mapping(_CLIENT_KEYS)
    client_id = _required(node, keys, "client_id").text()
    secret = keys["client_secret"].text() if "client_secret" in keys else None
    return Client(
        client_id=client_id,
        name=keys["name"].text() if "name" in keys else client_id,
        secret=secret,
        redirect_uris=_uris(keys.get("redirect_uris")),
        logout_urls=_uris(keys.get("logout_urls")),
        grants=_grants(keys.get("grants"), confidential=secret is not None),
        backchannel_logout_uri=_uri(keys["backchannel_logout_uri"]) if "backchannel_logout_uri" in keys else None,
    )


def _grants(node: _Node | None, *, confidential: bool) -> frozenset[Grant]:
    if node is None:
        return frozenset(Grant) if confidential else frozenset(Grant) - {Grant.CLIENT_CREDENTIALS}
    grants: set[Grant] = set()
    for item in node.items():
        try:
            grants.add(Grant(item.text()))
        except ValueError:
            raise item.fail(f"unknown grant (known: {', '.join(Grant)})") from None
    if Grant.CLIENT_CREDENTIALS in grants and not confidential:
        raise node.fail("client_credentials needs a client_secret")
    return frozenset(grants)


def _uris(node: _Node | None) -> tuple[str, ...]:
    return tuple(_uri(item) for item in node.items()) if node else ()


def _uri(node: _Node) -> str:
    parts = urlsplit(node.text())
    if parts.scheme not in {"http", "https"} or not parts.netloc or parts.fragment:
        raise node.fail("must be an http or https URI without a fragment")
    return node.text()
