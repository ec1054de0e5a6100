"""The operations that this program adds to the control plane: tokens, keys, users and tenants."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mock_server.mistakes import mistakes
from mock_server.operations import AdminError, Call, Operation

from .broken import BROKEN, UNUSUAL, MintError
from .directory import User
from .keys import KeyRingError, SigningKey
from .messages import OAuthError
from .minting import FIELDS
from .settings import UserEntry
from .tenant import Tenant

FindTenant = Callable[[str], Tenant]
MAX_LISTED = 1_000
MAX_SEARCHED = 20_000
GROUP = "identity provider"


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class OfTenant(_Model):
    """The tenant that an operation is about."""

    tenant: str = Field("", description="The host of the tenant; default: the default tenant.")


class UsersQuery(OfTenant):
    """Which users are listed."""

    search: str = Field("", description="A part of the e-mail address; the first 20,000 users are searched.")
    limit: Annotated[int, Field(ge=1, le=MAX_LISTED)] = 100


class Mint(OfTenant):
    """The token that is wanted."""

    model_config = ConfigDict(extra="allow", frozen=True, json_schema_extra={"properties": {
        name: {"description": text} for name, text in FIELDS.items()
    }})  # fmt: skip


class NewUser(OfTenant):
    """A user to add, or to replace."""

    user: UserEntry


class UserChange(OfTenant):
    """Members of a user to change, as in the file."""

    changes: dict[str, Any]


class ProviderOperations:
    """The functions of the operations."""

    def __init__(self, find: FindTenant, hosts: Callable[[], Sequence[tuple[str, Tenant]]]) -> None:
        self._find = find
        self._hosts = hosts

    def all(self) -> list[Operation]:
        """Return the operations."""
        return [
            Operation("GET", "/tenants", "List the tenants.", self.tenants, group=GROUP),
            Operation("POST", "/tokens", "Mint any token, good or broken.", self.mint, Mint, group=GROUP),
            Operation("GET", "/tokens/broken", "List broken and unusual tokens.", self.broken, group=GROUP),
            *self._for_keys(),
            *self._for_users(),
        ]

    def _for_keys(self) -> list[Operation]:
        announced = "Publish a new key, which signs from the next rotation on."
        ambiguous = "Publish another key under the current key id."
        rotated = "Sign with the announced key, or with a new one; the old one stays published."
        old = "Remove the keys that no longer sign."
        removed = "Remove a key from the key set; also the one that signs."
        return [
            Operation("GET", "/keys", "List the published keys.", self.keys, query=OfTenant, group=GROUP),
            Operation("POST", "/keys/announce", announced, self.announce, OfTenant, group=GROUP),
            Operation("POST", "/keys/rotate", rotated, self.rotate, OfTenant, group=GROUP),
            Operation("POST", "/keys/duplicate", ambiguous, self.duplicate, OfTenant, group=GROUP),
            Operation("POST", "/keys/weak", "Publish a key of 1024 bits.", self.weak, OfTenant, group=GROUP),
            Operation("DELETE", "/keys", old, self.remove_old, query=OfTenant, group=GROUP),
            Operation("DELETE", "/keys/{kid}", removed, self.remove, query=OfTenant, group=GROUP),
        ]

    def _for_users(self) -> list[Operation]:
        added = "Add a user, or replace the one of the same address."
        return [
            Operation("GET", "/users", "List users.", self.users, query=UsersQuery, group=GROUP),
            Operation("POST", "/users", added, self.add_user, NewUser, group=GROUP),
            Operation("PATCH", "/users/{email}", "Change a user.", self.change_user, UserChange, group=GROUP),
            Operation("DELETE", "/users/{email}", "Remove a user.", self.remove_user, query=OfTenant, group=GROUP),
        ]

    def tenants(self, call: Call) -> Any:
        """Return the tenants."""
        return {
            "tenants": [
                {
                    "host": host,
                    "issuer": tenant.issuer,
                    "users": tenant.directory.user_count,
                    "clients": list(tenant.directory.clients),
                    "sessions": len(tenant.sessions),
                }
                for host, tenant in self._hosts()
            ]
        }

    def mint(self, call: Call) -> Any:
        """Return a token."""
        try:
            return self._tenant(call.body).mint(dict(call.body.model_extra or {}))
        except MintError as error:
            raise AdminError(400, str(error)) from None

    def broken(self, call: Call) -> Any:
        """Return the names of broken tokens with their sentences."""
        return {
            "broken": {name: variant.sentence for name, variant in BROKEN.items()},
            "unusual": {name: variant.sentence for name, variant in UNUSUAL.items()},
        }

    def keys(self, call: Call) -> Any:
        """Return the published keys."""
        return {"keys": self._tenant(call.query).ring.describe()}

    async def announce(self, call: Call) -> Any:
        """Publish a new key."""
        return await self._with_keys(call.body, lambda tenant: tenant.ring.announce())

    async def rotate(self, call: Call) -> Any:
        """Sign with another key."""
        return await self._with_keys(call.body, lambda tenant: tenant.ring.rotate())

    async def duplicate(self, call: Call) -> Any:
        """Publish another key under the current id."""
        return await self._with_keys(call.body, lambda tenant: tenant.ring.duplicate())

    async def weak(self, call: Call) -> Any:
        """Publish a weak key."""
        return await self._with_keys(call.body, lambda tenant: tenant.ring.publish_weak())

    def remove_old(self, call: Call) -> Any:
        """Remove old keys."""
        ring = self._tenant(call.query).ring
        return {"removed": ring.remove_old(), "keys": ring.describe()}

    def remove(self, call: Call) -> Any:
        """Remove a key."""
        ring = self._tenant(call.query).ring
        try:
            ring.remove(call.names["kid"])
        except KeyRingError as error:
            raise AdminError(404, str(error)) from None
        return {"keys": ring.describe()}

    def users(self, call: Call) -> Any:
        """Return users."""
        query: UsersQuery = call.query
        directory = self._tenant(query).directory
        found = (user for user in directory.shown_users(MAX_SEARCHED) if query.search in user.email)
        return {"users": [_shown(user) for user in islice(found, query.limit)], "total": directory.user_count}

    def add_user(self, call: Call) -> Any:
        """Add a user."""
        tenant, entry = self._tenant(call.body), call.body.user
        return self._put(tenant, entry, tenant.directory.by_email(entry.email))

    def change_user(self, call: Call) -> Any:
        """Change a user; what is wrong with a change is reported like what is wrong with a body."""
        tenant = self._tenant(call.body)
        user = self._user(tenant, call.names["email"])
        known = {name: value for name, value in _shown(user).items() if value is not None and name != "subject"}
        known["id"] = user.subject.partition("|")[2]
        try:
            entry = UserEntry.model_validate({**known, **call.body.changes})
        except ValidationError as error:
            raise AdminError(400, "; ".join(f"changes.{each}" for each in mistakes(error, UserEntry))) from None
        return self._put(tenant, entry, user)

    def remove_user(self, call: Call) -> Any:
        """Remove a user."""
        tenant = self._tenant(call.query)
        user = self._user(tenant, call.names["email"])
        if user.subject not in tenant.directory.users:
            raise AdminError(409, "a generated user can't be removed: start with fewer of them")
        tenant.remove_user(user)
        return {"removed": user.email}

    def _put(self, tenant: Tenant, entry: UserEntry, replaced: User | None) -> Any:
        """Add a user in place of another one. Raises AdminError if a third one has the address or the id."""
        user, directory = User.of_entry(entry), tenant.directory
        for other, name in ((directory.by_email(user.email), "address"), (directory.user(user.subject), "id")):
            if other is not None and (replaced is None or other.subject != replaced.subject):
                raise AdminError(
                    409, f"the user {other.email} has this {name}: choose another one, or remove that user"
                )
        try:
            tenant.add_user(user, replaced)
        except OAuthError as error:
            raise AdminError(409, error.description) from None
        return _shown(user)

    def _user(self, tenant: Tenant, email: str) -> User:
        user = tenant.directory.by_email(email)
        if user is None:
            raise AdminError(404, "there is no user of this address: GET /__admin/users lists them")
        return user

    async def _with_keys(self, wanted: OfTenant, change: Callable[[Tenant], SigningKey]) -> Any:
        tenant = self._tenant(wanted)
        try:
            # To generate a key takes up to a second.
            key = await asyncio.to_thread(change, tenant)
        except KeyRingError as error:
            raise AdminError(409, str(error)) from None
        return {"kid": key.kid, "keys": tenant.ring.describe()}

    def _tenant(self, wanted: OfTenant) -> Tenant:
        try:
            return self._find(wanted.tenant.lower())
        except KeyError:
            raise AdminError(404, "there is no tenant of this host: GET /__admin/tenants lists them") from None


def _shown(user: User) -> dict[str, Any]:
    return {
        "subject": user.subject,
        "email": user.email,
        "password": user.password,
        "name": user.name,
        "nickname": user.nickname,
        "email_verified": user.email_verified,
        "picture": user.picture,
        "blocked": user.blocked,
        "permissions": list(user.permissions),
        "claims": dict(user.claims),
        "access_token_claims": dict(user.access_token_claims),
    }
