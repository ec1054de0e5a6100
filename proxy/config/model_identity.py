"""The model of the blocks `auth` and `sessions`. See `model.py`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from proxy.config.block import Block, env
from proxy.config.types import Duration, Flag, FromEnvironment, Integer, ListOf, Number, Text, Texts
from proxy.http.origin import is_loopback


class TenantTls(Block):
    ca: Text | None = Field(None, description="PEM file with the trusted authorities; those of the system if not set.")


def _set_or_none(value: Any) -> Any:
    return None if isinstance(value, FromEnvironment) and not value else value


def _without_unset(value: Any) -> Any:
    found = value if isinstance(value, list) else None
    return value if found is None else [v for v in found if v or not isinstance(v, FromEnvironment)]


class Tenant(Block):
    domain: Text = Field(description="What a client sends as `auth0_domain`: a host, with its port if it has one.")
    issuer: Annotated[Text | None, BeforeValidator(_set_or_none)] = Field(
        None,
        description="The `iss` claim of its tokens, with or without a slash at the end. If not set: `https://DOMAIN/`, "
        "and `http://DOMAIN/` for a domain on this machine.",
    )
    jwks_url: Text | None = Field(
        None,
        description="URL of its key set. If not set, the `jwks_uri` in ISSUER/.well-known/openid-configuration, or "
        "ISSUER/.well-known/jwks.json if there is none.",
    )
    audience: Annotated[Texts, BeforeValidator(_without_unset)] = Field(
        min_length=1,
        description="Accepted `aud` values: client ids or API identifiers. A variable that is not set is left out.",
    )
    algorithms: Texts = Field(("RS256",), min_length=1, description="Accepted asymmetric signature algorithms.")
    roles_claim: Text | None = Field(None, description="Name of the claim with roles.")
    email_verified: Literal["required", "assumed"] = Field(
        "required",
        description="`required`: the e-mail address counts for roles and rules, and is sent upstream, only if the "
        "token says `email_verified: true`. `assumed`: always; for providers that do not send this claim and verify "
        "every address.",
    )
    tls: TenantTls | None = Field(None, description="How to verify the certificate of the server with the key set.")
    leeway: Duration = Field(30.0, le=300, description="Accepted difference between clocks, at most 5m.")


def issuer_of(tenant: Tenant) -> str:
    """Return the issuer of a tenant; a tenant on this machine is a sandbox, with plain http."""
    host = tenant.domain.rpartition(":")[0] if tenant.domain.rpartition(":")[2].isdecimal() else tenant.domain
    return tenant.issuer or f"{'http' if is_loopback(host.strip('[]')) else 'https'}://{tenant.domain}/"


class Application(Block):
    domain: Text | None = Field(
        None,
        description="Tenant that browsers and the command line sign in with; `default_tenant` if not set.",
        json_schema_extra=env("GATEWAY_AUTH0_DOMAIN"),
    )
    client_id: Text = Field("", description="Its client id.", json_schema_extra=env("GATEWAY_AUTH0_CLIENT_ID"))
    redirect_uri: Text = Field(
        "", description="URL to which the login redirects.", json_schema_extra=env("GATEWAY_AUTH0_REDIRECT_URI")
    )
    audience: Text = Field(
        "", description="API identifier to request a token for.", json_schema_extra=env("GATEWAY_AUTH0_AUDIENCE")
    )


class Jwks(Block):
    lifetime: Duration = Field(600.0, description="How long a key set is cached.")
    cooldown: Duration = Field(30.0, description="Minimum time between fetches for unknown key ids or after failures.")
    timeout: Duration = Field(5.0, gt=0, description="Maximum time for one fetch.")
    stale_for: Duration = Field(3600.0, description="How long an expired key set is used while fetches fail.")
    max_keys: Integer = Field(32, ge=1, description="Maximum number of keys in a set.")


class Throttle(Block):
    after: Integer = Field(
        10, ge=0, description="Number of failed logins of an address before it must wait; 0 turns this off."
    )
    window: Duration = Field(300.0, description="Time without a failure after which earlier failures no longer count.")
    delay: Duration = Field(
        1.0, description="First waiting time; it doubles with each failure. Logins get 429 in this time."
    )
    max_delay: Duration = Field(60.0, description="Maximum waiting time.")


class AuthPlaybooks(Block):
    login: Text = Field(
        "api_integration/auth0/auth0_login",
        description="Playbook that logs a user in.",
        json_schema_extra=env("AUTH_PLAYBOOK_LOGIN"),
    )
    validate_session: Text = Field(
        "api_integration/auth0/auth0_validate_session",
        description="Playbook that validates a session.",
        json_schema_extra=env("AUTH_PLAYBOOK_VALIDATE_SESSION"),
    )
    check_access: Text = Field(
        "api_integration/auth0/check_playbook_access",
        description="Playbook that checks access.",
        json_schema_extra=env("AUTH_PLAYBOOK_CHECK_ACCESS"),
    )
    db_credential: Text = Field("pg_auth", description="Name of the credential of the user database, in NoETL.")
    timeout: Duration = Field(
        12.0,
        gt=0,
        description="Maximum time to wait for an answer. A playbook that has not called back is cancelled then, and "
        "the client gets 503.",
        json_schema_extra=env("AUTH_PLAYBOOK_TIMEOUT_SECS"),
    )
    verify_signature: Flag = Field(
        True,
        description="Verify the token of a login here as well, before NoETL sees it. A NoETL server only decodes "
        "tokens by default, so without this anyone can sign in as anyone.",
    )


class Auth(Block):
    provider: Literal["local", "playbook"] = Field(
        "local",
        description="`local`: the gateway verifies tokens and makes sessions. `playbook`: users, sessions and their "
        "roles are in NoETL's database; NoETL makes and validates sessions, in the server's own process or by "
        "playbooks that call the gateway back.",
    )
    tenants: Annotated[tuple[Tenant, ...], ListOf] = Field(
        (), description="The only identity providers whose tokens are accepted."
    )
    default_tenant: Text | None = Field(None, description="Tenant of a login without a domain.")
    application: Application = Field(
        default_factory=Application, description="Settings in the response of `/api/runtime/contract`."
    )
    throttle: Throttle = Field(default_factory=Throttle, description="Delays after failed logins.")
    jwks: Jwks = Field(default_factory=Jwks, description="How key sets are fetched and cached.")
    playbooks: AuthPlaybooks = Field(
        default_factory=AuthPlaybooks, description="How NoETL signs users in, with `provider: playbook`."
    )
    allow_sandbox_tenants: Flag = Field(
        False, description="Allow a public listening address although the issuer of a tenant uses plain http."
    )


class Cookie(Block):
    enabled: Flag = Field(False, description="Set and accept the session token as a cookie (`HttpOnly`).")
    name: Text = Field("session_token", pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$", description="Name of the cookie.")
    secure: Flag = Field(True, description="Send the cookie over https only.")
    same_site: Literal["lax", "strict", "none"] = Field("lax", description="`lax`, `strict` or `none`.")
    domain: Text | None = Field(None, description="Domain of the cookie; this host if not set.")


class RedisTls(Block):
    ca: Text | None = Field(None, description="PEM file with the trusted authorities; those of the system if not set.")
    certificate: Text | None = Field(None, description="PEM file with the certificate of the gateway, if Redis asks.")
    key: Text | None = Field(None, description="PEM file with its private key.")


class Redis(Block):
    prefix: Text = Field(
        "noetl-edge:",
        pattern=r"^[A-Za-z0-9._:-]{1,64}$",
        description="Beginning of all keys and channels. Gateways with the same prefix share everything.",
    )
    timeout: Duration = Field(
        2.0, ge=0.1, le=30, description="Maximum time for one command, with its connection. Then logins get 503."
    )
    local_grace: Duration = Field(
        30.0,
        le=3600,
        description="While Redis can't be reached, sessions that this process knows stay valid for this time, although "
        "they may have ended elsewhere; 0s turns this off.",
    )
    recheck: Duration = Field(
        30.0,
        ge=1,
        le=3600,
        description="Time after which a cached session is read again, even if nothing was announced. The ends of "
        "sessions are announced at once.",
    )
    wait_replicas: Integer = Field(
        0,
        ge=0,
        le=10,
        description="How many replicas must have a login, a logout or a result before it is answered (`WAIT`); not "
        "with a cluster.",
    )
    tls: RedisTls | None = Field(None, description="Certificates, for a `rediss…` url.")


class Sessions(Block):
    store: Literal["memory", "file", "redis"] = Field(
        "file",
        description="`memory` (lost on restart), `file` (LMDB; one machine) or `redis` (Redis or Valkey; any number of "
        "machines).",
    )
    path: Text = Field("var/sessions", description="Folder of the file store, relative to the configuration file.")
    url: Text | None = Field(
        None,
        description="Url of the redis store: `redis://USER:PASSWORD@HOST:PORT/DATABASE`, "
        "`redis+sentinel://USER:PASSWORD@HOST:PORT,HOST:PORT/NAME/DATABASE` (the sentinels, and the master's name) "
        "or `redis+cluster://USER:PASSWORD@HOST:PORT,HOST:PORT`; `rediss…` for TLS.",
        json_schema_extra=env(secret=True),
    )
    redis: Redis = Field(default_factory=Redis, description="How the redis store is used.")
    default_hours: Number = Field(
        8.0, gt=0, description="Lifetime of a session, in hours, if the login does not request one."
    )
    max_hours: Number = Field(
        24.0, gt=0, description="Maximum lifetime of a session, in hours; a longer request is shortened to this."
    )
    idle_timeout: Duration = Field(0.0, description="End sessions that were not used for this time; 0s turns this off.")
    max_per_user: Integer = Field(
        0, ge=0, description="Maximum sessions per user; a new one ends the oldest. 0 means no limit."
    )
    bind: Literal["none", "ip", "user_agent", "both"] = Field(
        "none",
        description="Bind a session to the client address (IPv6: the /64) or the user agent of its login, or both; a "
        "request from elsewhere gets 401 and is logged in the audit log. With "
        "`ip`, users who change networks must sign in again; behind a proxy it needs `server.trusted_proxies`.",
    )
    cookie: Cookie = Field(default_factory=Cookie, description="Session cookies for browsers.")
    cache_for: Duration = Field(
        300.0,
        description="With `provider: playbook`: how long NoETL's word that a session is valid is believed. A session "
        "that is ended in NoETL may be used for so long; one that is ended here ends at once.",
    )
