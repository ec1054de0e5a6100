"""The model of the YAML file: the description of a field is its documentation."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from mock_server.mistakes import PlacedError

from . import checks

RESERVED_CLAIMS = frozenset(
    {
        *("iss", "sub", "aud", "iat", "exp", "nbf", "jti", "azp", "nonce", "sid", "auth_time", "at_hash", "c_hash"),
        *("scope", "gty", "client_id", "cnf", "permissions", "email", "email_verified", "name", "nickname"),
    }
)
MAX_GENERATED = 10_000_000
DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
REALM_GRANT = "http://auth0.com/oauth/grant-type/password-realm"

GrantName = Literal[
    "authorization_code",
    "implicit",
    "refresh_token",
    "password",
    "http://auth0.com/oauth/grant-type/password-realm",
    "client_credentials",
    "urn:ietf:params:oauth:grant-type:device_code",
]
Dialect = Literal["access_token", "access_token_authz", "rfc9068_profile", "rfc9068_profile_authz"]


def _claims(claims: dict[str, Any]) -> dict[str, Any]:
    for name, value in claims.items():
        if name in RESERVED_CLAIMS:
            raise PlacedError((name,), "this claim is set by the server")
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError):
            raise PlacedError((name,), "must be a JSON value (quote dates)") from None
    return claims


Text = Annotated[str, StringConstraints(min_length=1)]
Email = Annotated[Text, AfterValidator(checks.email)]
HostName = Annotated[str, AfterValidator(checks.host_name)]
Uri = Annotated[Text, AfterValidator(checks.uri)]
AllowedUri = Annotated[Text, AfterValidator(checks.allowed_uri)]
RedirectUri = Annotated[Text, AfterValidator(checks.redirect_uri)]
Issuer = Annotated[Text, AfterValidator(checks.issuer)]
PublicKey = Annotated[Text, AfterValidator(checks.public_key)]
Claims = Annotated[dict[str, Any], AfterValidator(_claims)]
Seconds = Annotated[int, Field(ge=1, le=366 * 86_400)]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class UserEntry(_Entry):
    """A user who can sign in. Passwords are plain text: never use a real one."""

    email: Email = Field(description="The e-mail address, by which the user signs in.")
    password: Text = Field(description="The password, which the login page shows.")
    name: Text | None = Field(None, description="The full name; default: the e-mail address.")
    nickname: Text | None = Field(None, description="The short name; default: the e-mail address before the `@`.")
    email_verified: bool = Field(True, description="The claim of this name.")
    picture: Uri | None = Field(None, description="The claim of this name; default: a picture with two letters.")
    id: Text | None = Field(
        None, description="The part of `sub` after `auth0|`; default: computed from the e-mail address."
    )
    blocked: bool = Field(False, description="Whether a login with the right password is refused.")
    permissions: list[Text] = Field([], description="The claim `permissions` of access tokens whose API has it.")
    claims: Claims = Field({}, description="Further claims of ID tokens and of `/userinfo`.")
    access_token_claims: Claims = Field({}, description="Further claims of access tokens.")


class ClientEntry(_Entry):
    """A registered application; it is public if it has neither a secret nor a key, and must then use PKCE."""

    client_id: Text = Field(description="The id.")
    name: Text | None = Field(None, description="The name on pages; default: the id.")
    client_secret: Text | None = Field(None, description="The secret, sent in the body or by Basic authentication.")
    public_key: PublicKey | None = Field(
        None, description="A public key of RSA or P-256 in PEM, which verifies client assertions (`private_key_jwt`)."
    )
    redirect_uris: list[RedirectUri] = Field(
        [],
        description="Where logins may return to, compared exactly. A port of `*` allows any port; such an entry "
        "without a path allows any path and query.",
    )
    logout_urls: list[AllowedUri] = Field([], description="Where logouts may return to, compared in the same way.")
    web_origins: list[AllowedUri] = Field(
        [], description="Origins of pages that may read responses, besides those of `redirect_uris` and this machine."
    )
    grants: list[GrantName] | None = Field(
        None, description="The grant types; default: all, but `client_credentials` for confidential clients only."
    )
    consent: bool = Field(False, description="Whether users must allow each set of scopes once.")
    dpop: Literal["off", "allowed", "required"] = Field(
        "allowed", description="Whether tokens are bound to keys of the client (RFC 9449)."
    )
    refresh_token_rotation: bool = Field(True, description="Whether each use replaces a refresh token.")
    refresh_token_leeway: int = Field(
        0, ge=0, le=86_400, description="Seconds in which a replaced refresh token may be used again."
    )
    id_token_lifetime: Seconds | None = Field(None, description="The lifetime of ID tokens, in seconds.")
    backchannel_logout_uri: Uri | None = Field(None, description="Where logout tokens are posted to.")

    @model_validator(mode="after")
    def _credentials_have_a_secret(self) -> ClientEntry:
        public = self.client_secret is None and self.public_key is None
        if public and "client_credentials" in (self.grants or ()):
            raise PlacedError(("grants",), "client_credentials needs a client_secret or a public_key")
        return self


class ApiEntry(_Entry):
    """An API that access tokens are for."""

    audience: Text = Field(description="The identifier, which clients send as `audience`.")
    name: Text | None = Field(None, description="The name on pages; default: the identifier.")
    token_dialect: Dialect = Field(
        "access_token",
        description="The form of access tokens, as Auth0 names it: `rfc9068_profile` has the type `at+jwt`, "
        "`client_id` and `jti`; `_authz` adds `permissions`.",
    )
    scopes: list[Text] | None = Field(None, description="The scopes that it has; others are left out. Default: any.")
    offline_access: bool = Field(True, description="Whether there are refresh tokens for it.")
    lifetime: Seconds | None = Field(None, description="The lifetime of its access tokens, in seconds.")
    implicit_lifetime: Seconds | None = Field(None, description="The same for the implicit flow.")


class Lifetimes(_Entry):
    """How long everything is valid, in seconds."""

    id_token: Seconds = Field(36_000, description="ID tokens.")
    access_token: Seconds = Field(86_400, description="Access tokens.")
    implicit_access_token: Seconds = Field(7_200, description="Access tokens of the implicit flow.")
    logout_token: Seconds = Field(120, description="Logout tokens.")
    refresh_token: Seconds = Field(30 * 86_400, description="Refresh tokens.")
    code: Seconds = Field(60, description="Authorization codes.")
    session: Seconds = Field(86_400, description="Sessions of browsers.")
    login: Seconds = Field(1_800, description="Unfinished logins.")
    device_code: Seconds = Field(900, description="Codes of devices.")
    device_interval: Seconds = Field(5, description="The time between two polls of a device.")
    dpop_nonce: Seconds = Field(300, description="Nonces of DPoP proofs.")


class TenantEntry(_Entry):
    """A tenant: what it contains."""

    issuer: Issuer | None = Field(
        None, description="The issuer, such as `https://auth0.test/`; default: from the address that it listens on."
    )
    users: list[UserEntry] = Field([], description="The users.")
    generate_users: int = Field(
        0, ge=0, le=MAX_GENERATED, description="The number of generated users: `user00001@example.com` and so on."
    )
    generated_password: Text = Field("password", description="The password of generated users.")
    clients: list[ClientEntry] = Field([], description="The applications.")
    apis: list[ApiEntry] | None = Field(None, description="The APIs; default: every audience is accepted.")
    lifetimes: Lifetimes = Field(default_factory=lambda: Lifetimes(), description="How long everything is valid.")
    claims: Claims = Field({}, description="Further claims of the ID tokens of all users.")
    access_token_claims: Claims = Field({}, description="Further claims of all access tokens.")
    opaque_access_tokens: bool = Field(
        True,
        description="Whether access tokens without an `audience`, which are for `/userinfo` only, are encrypted as "
        "those of Auth0; false: they are readable tokens too.",
    )
    dpop_nonce: bool = Field(True, description="Whether DPoP proofs need a nonce of the server (RFC 9449, 8).")
    reuse_seconds: int = Field(
        1,
        ge=1,
        le=3_600,
        description="Tokens of equal content that are issued within this time are the same token, which saves a "
        "signature; `iat` is rounded down to a multiple of it.",
    )


class TenantFile(TenantEntry):
    """The content of the file: the default tenant, and further tenants, which are chosen by the host of a request."""

    tenants: dict[HostName, TenantEntry] = Field(
        {},
        description="Further tenants by host name, such as `a.localhost`, without a port. What a tenant leaves out, it "
        "has from the default tenant; keys, sessions and codes are its own.",
    )


class UsersFile(_Entry):
    """The content of a file of `--users`: users and clients that are added, or replace those of the same name."""

    users: list[UserEntry] = Field([], description="The users, added or replaced by e-mail address.")
    clients: list[ClientEntry] = Field([], description="The clients, added or replaced by id.")
