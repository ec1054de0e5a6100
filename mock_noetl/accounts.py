"""The user database of the sandbox: users, roles, permissions and sessions, and what auth playbooks do with them.

As NoETL does, it decodes tokens and does not verify their signature. Everything is in memory.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import jwt

from mock_noetl.accounts_file import PermissionEntry, UserEntry, read_accounts
from mock_server.clock import Clock
from mock_server.randomness import random_source

SHIPPED_ACCOUNTS = Path(__file__).with_name("accounts.yaml")
MAX_SESSIONS = 100_000
MAX_USERS = 100_000
DEFAULT_HOURS = 8


@dataclass(frozen=True, slots=True)
class User:
    """A user with roles. `active` users have valid sessions."""

    user_id: int
    email: str
    display_name: str
    roles: tuple[str, ...]
    active: bool = True


@dataclass(frozen=True, slots=True)
class Permission:
    """What a role may do with the playbooks that match a pattern, and no pattern of `exceptions`."""

    role: str
    actions: frozenset[str]
    patterns: tuple[str, ...]
    exceptions: tuple[str, ...]

    def covers(self, path: str, action: str) -> bool:
        """Return whether the permission covers an action on a playbook."""
        covered = action in self.actions and any(fnmatchcase(path, pattern) for pattern in self.patterns)
        return covered and not any(fnmatchcase(path, pattern) for pattern in self.exceptions)


@dataclass(frozen=True, slots=True)
class AccountSession:
    """A session of a user."""

    user_id: int
    expires_at: datetime


class LoginFailed(Exception):
    """A login is refused. The text is NoETL's."""


class Accounts:
    """The users, their permissions and their sessions."""

    def __init__(
        self,
        users: list[User],
        permissions: list[Permission],
        clock: Clock | None = None,
        source: random.Random | None = None,
    ) -> None:
        self.clock = clock or Clock()
        self._source = source or random_source(None)
        self._users = {user.user_id: user for user in users}
        self._by_email = {user.email: user.user_id for user in users}
        self._permissions = permissions
        self._sessions: dict[str, AccountSession] = {}

    def login(self, token: str, domain: str, hours: int) -> tuple[str, AccountSession, User]:
        """Make a session for the user of a token. Raises LoginFailed."""
        claims = _claims(token, domain, self.clock)
        user = self._user_of(claims)
        if len(self._sessions) >= MAX_SESSIONS:
            del self._sessions[next(iter(self._sessions))]
        session_token = self._source.randbytes(16).hex()
        session = self._sessions[session_token] = AccountSession(
            user.user_id, self.clock.moment() + timedelta(hours=hours)
        )
        return session_token, session, user

    def validate(self, session_token: str) -> tuple[AccountSession, User] | None:
        """Return a valid session with its user; None if there is none."""
        session = self._sessions.get(session_token)
        if session is None or session.expires_at <= self.clock.moment():
            return None
        user = self._users[session.user_id]
        return (session, user) if user.active else None

    def allows(self, user: User, path: str, action: str) -> bool:
        """Return whether a role of a user covers an action on a playbook."""
        return any(p.role in user.roles and p.covers(path, action) for p in self._permissions)

    def _user_of(self, claims: Mapping[str, Any]) -> User:
        email = str(claims.get("email") or "").lower()
        known = self._by_email.get(email)
        if known is not None:
            return self._users[known]
        if len(self._users) >= MAX_USERS:
            raise LoginFailed("Too many users")
        user_id = max(self._users, default=0) + 1
        user = User(user_id, email, str(claims.get("name") or email or claims.get("sub") or user_id), ())
        self._users[user_id] = user
        self._by_email[email] = user_id
        return user


def _claims(token: str, domain: str, clock: Clock) -> Mapping[str, Any]:
    """Return the claims of a token, which is decoded only. Raises LoginFailed."""
    try:
        claims: Mapping[str, Any] = jwt.decode(token, options={"verify_signature": False, "verify_exp": False})
    except jwt.PyJWTError:
        raise LoginFailed("Invalid token format") from None
    expires = claims.get("exp")
    if isinstance(expires, int | float) and expires <= clock.now():
        raise LoginFailed("Token has expired")
    issuer = str(claims.get("iss", "")).rstrip("/")
    if domain and issuer.partition("://")[2] != domain.rstrip("/"):
        raise LoginFailed("Invalid token issuer")
    return claims


def load_accounts(
    file: Path | None = None, clock: Clock | None = None, source: random.Random | None = None
) -> Accounts:
    """Return the accounts of a YAML file; the shipped ones for None. Raises AccountsError."""
    found = read_accounts(file or SHIPPED_ACCOUNTS)
    users = [_user(entry, number) for number, entry in enumerate(found.users, 1)]
    return Accounts(users, list(map(_permission, found.permissions)), clock, source)


def _user(entry: UserEntry, number: int) -> User:
    email = entry.email.lower()
    user_id = number if entry.user_id is None else entry.user_id
    return User(user_id, email, entry.display_name or email, tuple(entry.roles), entry.active)


def _permission(entry: PermissionEntry) -> Permission:
    return Permission(entry.role, frozenset(entry.allow), tuple(entry.playbooks), tuple(entry.exceptions))


# The answers, as the auth playbooks send them to the gateway, and as the Rust server gives them itself.


def login_by_playbook(accounts: Accounts, workload: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the status and the data of the callback of the login playbook."""
    try:
        token, session, user = accounts.login(
            str(workload.get("auth0_token", "")), str(workload.get("auth0_domain", "")), _hours(workload)
        )
    except LoginFailed as error:
        return "error", {"error": str(error), "message": "Token validation failed"}
    described = {**_described(user), "user_id": str(user.user_id), "roles": f"{{{','.join(user.roles)}}}"}
    expires_at = session.expires_at.replace(tzinfo=None).isoformat()
    data = {"status": "authenticated", "session_token": token, "user": described, "expires_at": expires_at}
    return "success", {**data, "message": "Authentication successful"}


def validate_by_playbook(accounts: Accounts, workload: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the status and the data of the callback of the playbook that validates a session."""
    found = accounts.validate(str(workload.get("session_token", "")))
    if found is None:
        return "success", {"valid": False, "message": "Session not found or expired"}
    session, user = found
    return "success", {"valid": True, "user": _described(user), "expires_at": session.expires_at.isoformat()}


def access_by_playbook(accounts: Accounts, workload: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the status and the data of the callback of the playbook that checks access."""
    return "success", check_access(accounts, workload)


def login_in_process(accounts: Accounts, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the response of the Rust server's own login."""
    status, data = login_by_playbook(accounts, fields)
    if status == "success":
        found = accounts.validate(data["session_token"])
        assert found is not None  # noqa: S101 - it was just made
        data = {
            "status": "authenticated",
            "session_token": data["session_token"],
            "user": _described(found[1]),
            "expires_at": _as_postgres(found[0].expires_at),
        }
    return {"status": status, "data": data}


def validate_in_process(accounts: Accounts, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the response of the Rust server's own validation."""
    found = accounts.validate(str(fields.get("session_token", "")))
    if found is None:
        return {"status": "ok", "valid": False}
    user = _described(found[1])
    return {"status": "ok", "valid": True, "user": user, "expires_at": _as_postgres(found[0].expires_at)}


def check_access(accounts: Accounts, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the data of a check of access."""
    found = accounts.validate(str(fields.get("session_token", "")))
    action = str(fields.get("action", "execute"))
    if found is None or not accounts.allows(found[1], str(fields.get("playbook_path", "")), action):
        return {"allowed": False, "message": "Access denied"}
    user = {name: value for name, value in _described(found[1]).items() if name != "roles"}
    return {"allowed": True, "message": f"Access granted to {action} playbook", "user": user}


def _described(user: User) -> dict[str, Any]:
    described = {"user_id": user.user_id, "email": user.email, "display_name": user.display_name}
    return {**described, "roles": list(user.roles)}


def _hours(workload: Mapping[str, Any]) -> int:
    hours = workload.get("session_duration_hours")
    return hours if type(hours) is int and hours > 0 else DEFAULT_HOURS


def _as_postgres(time: datetime) -> str:
    return f"{time.replace(tzinfo=None).isoformat(sep=' ')}+00"
