"""The model of `auth` and `sessions`: who signs in, and for how long. See `model.py`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from proxy.config.block import Block, env
from proxy.config.later import Later
from proxy.config.types import Duration, Flag, Integer, ListOf, Number, Text, Texts


class Tenant(Block):
    domain: Text = Field(description="What a client sends as `auth0_domain`.")
    issuer: Text | None = Field(None, description="The `iss` of its tokens; `https://DOMAIN/` if not given.")
    jwks_url: Text | None = Field(None, description="Its key set; `ISSUER.well-known/jwks.json` if not given.")
    audience: Texts = Field(min_length=1, description="Accepted `aud` values: client ids or API identifiers.")
    algorithms: Texts = Field(("RS256",), min_length=1, description="Accepted asymmetric signature algorithms.")
    roles_claim: Text | None = Field(None, description="The claim that may carry roles.")
    require_verified_email: Flag = Field(False, description="Refuse tokens without `email_verified: true`.")
    leeway: Duration = Field(30.0, le=300, description="Tolerated clock difference, at most 5m.")


class Application(Block):
    domain: Text | None = Field(
        None,
        description="Tenant that browsers and the command line sign in with; `default_tenant` if not given.",
        json_schema_extra=env("GATEWAY_AUTH0_DOMAIN"),
    )
    client_id: Text = Field("", description="Its client id.", json_schema_extra=env("GATEWAY_AUTH0_CLIENT_ID"))
    redirect_uri: Text = Field(
        "", description="Where the login returns to.", json_schema_extra=env("GATEWAY_AUTH0_REDIRECT_URI")
    )
    audience: Text = Field(
        "", description="API identifier to ask for.", json_schema_extra=env("GATEWAY_AUTH0_AUDIENCE")
    )


class Jwks(Block):
    lifetime: Duration = Field(600.0, description="How long a key set is used before it is fetched again.")
    cooldown: Duration = Field(30.0, description="Shortest time between fetches for unknown key ids or after failures.")
    timeout: Duration = Field(5.0, description="Longest time for one fetch.")
    stale_for: Duration = Field(3600.0, description="How long an expired key set may serve while fetches fail.")
    max_keys: Integer = Field(32, ge=1, description="Most keys of a set.")


class Throttle(Block):
    after: Integer = Field(10, ge=0, description="Failed logins of an address before it has to wait; 0 is off.")
    window: Duration = Field(300.0, description="Time without a failure after which failures are forgotten.")
    delay: Duration = Field(1.0, description="First wait; it doubles with each failure. Meanwhile the answer is 429.")
    max_delay: Duration = Field(60.0, description="Longest wait.")


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
    timeout: Duration = Field(
        12.0, description="Longest wait for the callback.", json_schema_extra=env("AUTH_PLAYBOOK_TIMEOUT_SECS")
    )
    verify_signature: Flag = Field(True, description="Verify the token here too before asking the playbook.")


class Auth(Block):
    provider: Annotated[Literal["local", "playbook"], Later("provider: playbook", ("local",))] = Field(
        "local",
        description="`local`: the gateway verifies tokens and keeps sessions; `playbook`: NoETL's playbooks do.",
    )
    tenants: Annotated[tuple[Tenant, ...], ListOf] = Field(
        (), description="The only identity providers whose tokens are accepted."
    )
    default_tenant: Text | None = Field(None, description="Tenant of a login that names no domain.")
    application: Application = Field(default_factory=Application, description="Told by `/api/runtime/contract`.")
    throttle: Throttle = Field(default_factory=Throttle, description="Slows down failed logins.")
    jwks: Jwks = Field(default_factory=Jwks, description="How key sets are fetched.")
    playbooks: Annotated[AuthPlaybooks | None, Later("provider: playbook", (None,))] = Field(
        None, description="For `provider: playbook`."
    )
    allow_sandbox_tenants: Flag = Field(
        False, description="Allow listening beyond loopback although a tenant's issuer is plain http."
    )


class Cookie(Block):
    enabled: Flag = Field(False, description="Set and accept the session as a cookie (`HttpOnly`).")
    name: Text = Field("session_token", pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$", description="Name of the cookie.")
    secure: Flag = Field(True, description="Send it over https only.")
    same_site: Literal["lax", "strict", "none"] = Field("lax", description="`lax`, `strict` or `none`.")
    domain: Text | None = Field(None, description="Domain of the cookie; this host if not given.")


class Sessions(Block):
    store: Annotated[Literal["memory", "file", "redis"], Later("the redis store", ("memory", "file"))] = Field(
        "file", description="`memory` (gone on restart), `file` (LMDB) or `redis`."
    )
    path: Text = Field("var/sessions", description="Folder of the file store, relative to the configuration file.")
    url: Annotated[Text | None, Later("the redis store", (None,))] = Field(
        None, description="Url of the redis store.", json_schema_extra=env(secret=True)
    )
    default_hours: Number = Field(8.0, gt=0, description="Length of a session whose login asks for none.")
    max_hours: Number = Field(24.0, gt=0, description="A longer wish is shortened to this.")
    idle_timeout: Duration = Field(0.0, description="End sessions that were not used for this long; 0s is off.")
    max_per_user: Integer = Field(0, ge=0, description="Beyond it the user's oldest session ends; 0 is no limit.")
    bind: Literal["none", "ip", "user_agent", "both"] = Field(
        "none",
        description="A session is good only from the address (IPv6: the /64) or the user agent of its login, or both; "
        "from elsewhere it is 401, and the audit log tells. Requests then take the ordinary path, which is slower. "
        "`ip` shuts whoever changes networks out, and needs `server.trusted_proxies` behind a proxy.",
    )
    cookie: Cookie = Field(default_factory=Cookie, description="Session cookies for browsers.")
    cache_for: Annotated[Duration | None, Later("provider: playbook", (None,))] = Field(
        None, description="For `provider: playbook`: how long a positive answer is believed."
    )
