"""The model of gateway.yaml: one class per block, one field per key.

A field's description is its user documentation; default, JSON Schema, environment variable and reference page all
come from here. Checks that need more than one field are in `checks.py`.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from proxy.config.later import Later
from proxy.config.types import Claims, Duration, Flag, FromEnvironment, Integer, ListOf, Number, Size, Text, Texts

Method = Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
Methods = Annotated[tuple[Method, ...], ListOf]
Verb = Literal["execute", "view", "modify", "edit", "delete", "*"]
RELAYED: tuple[Method, ...] = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")


class Block(BaseModel):
    """A block of the file: frozen, strict, no unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, arbitrary_types_allowed=True)


def env(*names: str, secret: bool = False) -> dict[str, Any]:
    """Extra facts about a field: the environment variables that override it, and whether it is a secret."""
    return {"environment": list(names), "secret": secret}


class Tls(Block):
    certificate: Text = Field(description="PEM file with the certificate chain.")
    key: Text = Field(description="PEM file with the private key.")


class ServerLimits(Block):
    header_timeout: Duration = Field(10.0, description="Longest time for a whole request head.")
    body_timeout: Duration = Field(30.0, description="Longest pause in a request body, and in a client's reading.")
    min_rate: Size = Field(
        240,
        description="Least bytes a second of a body, once `body_timeout` is used up, in both directions; 0B is off.",
    )
    idle_timeout: Duration = Field(75.0, description="How long a kept-alive connection may stay idle.")
    max_header_size: Size = Field(16384, description="Largest request head; also the longest request line.")
    max_headers: Integer = Field(100, ge=1, description="Most header fields of a request.")
    max_body_size: Size = Field(10 * 1024**2, description="Largest request body; a route may say otherwise.")
    max_connections: Integer = Field(10000, ge=1, description="Most open client connections per worker; more get 503.")
    max_connections_per_ip: Integer = Field(
        0, ge=0, description="Most open connections of one address per worker; 0 is no limit."
    )


def _workers(value: Any) -> Any:
    if isinstance(value, FromEnvironment) and value.isdecimal():
        value = int(value)
    if value != "auto" and (type(value) is not int or not 1 <= value <= 256):
        raise ValueError("is a number from 1 to 256, or auto")
    return value


class Server(Block):
    host: Text = Field("127.0.0.1", description="Address to listen on.", json_schema_extra=env("GATEWAY_BIND"))
    port: Integer = Field(
        8090,
        ge=0,
        le=65535,
        description="Port to listen on; 0 takes a free one.",
        json_schema_extra=env("ROUTER_PORT", "GATEWAY_PORT"),
    )
    workers: Annotated[int | Literal["auto"], BeforeValidator(_workers)] = Field(
        1, description="Worker processes: a number, or `auto` for one per core."
    )
    public_url: Text | None = Field(
        None,
        description="How browsers and workers reach this gateway; `http://localhost:PORT` if not given.",
        json_schema_extra=env("GATEWAY_PUBLIC_URL"),
    )
    tls: Tls | None = Field(None, description="Serve HTTPS with this certificate; renewed when its files change.")
    trusted_proxies: Texts = Field(
        (), description="Networks whose X-Forwarded-For, X-Forwarded-Proto and CF-Connecting-IP are believed."
    )
    limits: ServerLimits = Field(default_factory=ServerLimits, description="Limits on what clients may send.")
    shutdown_grace: Duration = Field(30.0, description="How long requests in flight may go on after SIGTERM.")


class UpstreamTls(Block):
    ca: Text | None = Field(None, description="PEM file with the authorities to trust; the system's if not given.")
    server_name: Text | None = Field(
        None, description="Name to verify the certificate against; the url's if not given."
    )


RetryOn = Literal["connect", "reset", "502", "503", "504"]


def _retry_on(value: Any) -> Any:
    return tuple(str(item) if type(item) is int else item for item in value) if isinstance(value, list) else value


class Retries(Block):
    attempts: Integer = Field(
        1,
        ge=0,
        le=10,
        description="How often a request is sent again at most; 0 is never. At most 10 % extra requests.",
    )
    on: Annotated[tuple[RetryOn, ...], BeforeValidator(_retry_on)] = Field(
        ("connect", "reset", "502", "503", "504"),
        description="Failures after which it is: no connection (any method, as nothing was sent), reset, or a status.",
    )
    methods: Annotated[tuple[Literal["GET", "HEAD", "OPTIONS"], ...], ListOf] = Field(
        ("GET", "HEAD", "OPTIONS"),
        description="Safe methods that are sent again although the upstream may have seen them.",
    )


class Health(Block):
    path: Text = Field("/api/health", pattern=r"^/[!-~]*$", description="Path that is asked; below 400 is healthy.")
    interval: Duration = Field(5.0, ge=0.05, description="Time between checks.")
    timeout: Duration = Field(2.0, gt=0, description="Longest wait for an answer.")
    unhealthy_after: Integer = Field(3, ge=1, description="Failures in a row that make a url unhealthy.")
    healthy_after: Integer = Field(1, ge=1, description="Successes in a row that make it healthy again.")


class CircuitBlock(Block):
    failures: Integer = Field(20, ge=1, le=10_000, description="Failures that open the circuit of a url.")
    window: Duration = Field(10.0, gt=0, description="Time within which they count.")
    open: Duration = Field(5.0, gt=0, description="How long nothing is sent; then one request is the probe.")


def _switch(value: Any) -> Any:
    return None if value is False else value


class Upstream(Block):
    urls: Texts = Field(
        min_length=1,
        description="Base urls, scheme and authority; with several, `balance` chooses.",
        json_schema_extra=env("NOETL_BASE_URL"),
    )
    balance: Literal["round_robin", "least_requests", "consistent_hash"] = Field(
        "round_robin", description="`round_robin`, `least_requests` or `consistent_hash`."
    )
    hash_on: Annotated[Text, Field(pattern=r"^(execution_id|session|header:[!#$%&'*+.^_`|~0-9A-Za-z-]+)$")] | None = (
        Field(None, description="For `consistent_hash`: `execution_id` (if not given), `session` or `header:NAME`.")
    )
    connect_timeout: Duration = Field(5.0, description="Longest time to open a connection.")
    response_timeout: Duration = Field(
        120.0,
        description="Longest time until the response head.",
        json_schema_extra=env("NOETL_TIMEOUT_SECS"),
    )
    idle_timeout: Duration = Field(60.0, description="Longest pause within a streamed body.")
    max_connections: Integer = Field(512, ge=1, description="Most connections per worker and url.")
    max_pending: Integer = Field(1024, ge=0, description="Most requests waiting for a connection; beyond it 503.")
    retries: Annotated[Retries, BeforeValidator(lambda value: {"attempts": 0} if value is False else value)] = Field(
        default_factory=Retries, description="Which failed requests are sent again."
    )
    health: Annotated[Health | None, BeforeValidator(_switch)] = Field(
        None, description="Active health checks; off if not given."
    )
    circuit: Annotated[CircuitBlock | None, BeforeValidator(_switch)] = Field(
        None, description="Circuit breaker, for each url; off if not given."
    )
    tls: UpstreamTls | None = Field(
        None, description="How to verify an https upstream; the system's authorities if not given."
    )


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


class Cors(Block):
    allowed_origins: Texts = Field(
        (),
        description="Exact origins, or one `*` for the first label; `*` alone only without credentials.",
        json_schema_extra=env("CORS_ALLOWED_ORIGINS"),
    )
    allow_credentials: Flag = Field(
        True, description="Let browsers send credentials.", json_schema_extra=env("CORS_ALLOW_CREDENTIALS")
    )
    allowed_methods: Texts = Field(
        ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"), description="Methods that a preflight is told."
    )
    allowed_headers: Texts = Field(
        (
            "authorization", "content-type", "accept", "x-session-token", "x-session-id", "x-user-id", "x-request-id",
            "x-requested-with", "apollo-require-preflight", "last-event-id", "traceparent",
        ),
        description="Request headers that a preflight is told.",
    )  # fmt: skip
    exposed_headers: Texts = Field(("x-request-id",), description="Response headers that scripts may read.")
    max_age: Duration = Field(600.0, description="How long browsers may cache a preflight.")
    allow_private_network: Flag = Field(False, description="Answer private-network preflights.")


class RoleBlock(Block):
    emails: Texts = Field((), description="Globs over the e-mail address.")
    subjects: Texts = Field((), description="Values of the token's `sub`.")
    claims: Claims = Field(default_factory=dict, description="Claims of the token: name and value, or list of values.")
    everyone: Flag = Field(False, description="Every signed-in user has the role.")


class RuleBlock(Block):
    allow: Annotated[tuple[Verb, ...], ListOf] = Field((), description="Actions that the rule allows.")
    deny: Annotated[tuple[Verb, ...], ListOf] = Field((), description="Actions that the rule denies.")
    roles: Texts = Field((), description="Users who have any of these roles.")
    emails: Texts = Field((), description="Users whose address matches any of these globs.")
    claims: Claims = Field(default_factory=dict, description="Users whose token has all of these claims.")
    playbooks: Texts = Field((), description="Globs over the playbook path.")
    paths: Texts = Field((), description="Globs over the normalised request path.")
    methods: Methods = Field((), description="With `paths`: only these methods.")


class TestSubject(Block):
    email: Text = Field("", description="E-mail address of the user.")
    roles: Texts = Field((), description="Roles that the token carries.")
    claims: dict[str, Any] = Field(default_factory=dict, description="Claims of the token.")


class AclTest(Block):
    as_: TestSubject = Field(alias="as", description="Who asks.")
    execute: Text | None = Field(None, description="Playbook to execute.")
    view: Text | None = Field(None, description="Playbook to view.")
    modify: Text | None = Field(None, description="Playbook to modify.")
    delete: Text | None = Field(None, description="Playbook to delete.")
    request: Text | None = Field(None, description="A request, as `GET /noetl/executions`.")
    expect: Literal["allow", "deny"] = Field(description="What must be decided.")


class Acl(Block):
    roles: dict[str, RoleBlock] = Field(default_factory=dict, description="Who has which role.")
    default: Literal["allow", "deny"] = Field("deny", description="Decides where no rule matches.")
    rules: Annotated[tuple[RuleBlock, ...], ListOf] = Field((), description="The access rules; their order is free.")
    tests: Annotated[tuple[AclTest, ...], ListOf] = Field((), description="Run by `check` and before serving.")


class GraphqlLimits(Block):
    size: Size = Field(64 * 1024, ge=1, description="Longest text of a document; what is longer belongs in variables.")
    tokens: Integer = Field(1000, ge=1, description="Most tokens of a document.")
    depth: Integer = Field(8, ge=1, description="Deepest nesting of fields; introspection may go deeper.")
    aliases: Integer = Field(15, ge=0, description="Most aliases of an operation.")
    root_fields: Integer = Field(10, ge=1, description="Most root fields of an operation.")
    directives: Integer = Field(20, ge=0, description="Most directives of a document.")
    cost: Integer = Field(
        10_000,
        ge=1,
        le=999_999,
        description="Highest cost of an operation: 1 for each field, 10 for one that asks NoETL or is a list; what is "
        "selected of a list counts once for each item that `first` allows (1000 if a variable says it, 4 without it).",
    )
    batch: Integer = Field(1, ge=1, description="Most requests of a batch; 1 refuses batches.")


class IntrospectionRoles(Block):
    roles: Texts = Field(min_length=1, description="Roles that may introspect.")


def _introspection(value: Any) -> Any:
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    if not isinstance(value, bool | dict | IntrospectionRoles):
        raise ValueError("is true, false or roles: [NAME]")
    return IntrospectionRoles.model_validate(value) if isinstance(value, dict) else value


class Graphql(Block):
    introspection: Annotated[bool | IntrospectionRoles, BeforeValidator(_introspection)] = Field(
        True, description="`true`, `false`, or `roles: [admin]`."
    )
    graphiql: Flag = Field(True, description="Show GraphiQL to browsers on GET.")
    get: Literal["off", "queries"] = Field("queries", description="Whether queries may be sent by GET.")
    max_body_size: Size = Field(1024**2, description="Largest request body.")
    limits: GraphqlLimits = Field(default_factory=GraphqlLimits, description="Limits, applied before validation.")
    validation_timeout: Duration = Field(
        0.1, gt=0, description="Longest processor time to validate and plan a document that was not seen before."
    )
    trusted_documents: Text | None = Field(
        None,
        description="Folder, relative to the configuration file, of `*.graphql` files and JSON manifests of texts by "
        "their SHA-256. Only these documents run then, by hash or by their very text; introspection and what is typed "
        "into GraphiQL are refused unless among them. A reload reads them anew.",
    )
    apq: Flag = Field(
        False, description="Automatic persisted queries: a client sends a document once, then only its SHA-256."
    )
    apq_size: Size = Field(
        4 * 1024**2, ge=64 * 1024, description="Memory of each worker for them; one user's take a quarter at most."
    )
    suggestions: Flag = Field(False, description="Say `Did you mean` in validation errors.")
    document_cache: Integer = Field(1000, ge=0, description="Documents kept parsed and validated.")
    timeout: Duration = Field(30.0, description="Longest time for one operation.")


class Live(Block):
    heartbeat: Duration = Field(
        30.0, description="Pause between pings.", json_schema_extra=env("GATEWAY_HEARTBEAT_INTERVAL_SECS")
    )
    request_lifetime: Duration = Field(1800.0, description="How long a pending request and its events are kept.")
    queue: Integer = Field(256, ge=1, description="Events buffered per connection.")
    follow: Flag = Field(True, description="Watch executions upstream when no callback arrives.")
    internal_allow_from: Texts = Field(
        ("127.0.0.0/8", "::1/128", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"),
        description="Networks that may post callbacks.",
    )
    internal_token: Text | None = Field(
        None, description="If set, callbacks must carry it.", json_schema_extra=env(secret=True)
    )


def _limit(value: Any) -> Any:
    if isinstance(value, str) and not re.fullmatch(r"[1-9][0-9]{0,8}/(second|minute|hour|day)", value):
        raise ValueError(f'"{value}" is not a rate: write a number and a time, as 60/minute or 5/second')
    return value


class RateLimitBlock(Block):
    limit: Annotated[Text, BeforeValidator(_limit)] = Field(
        description="Requests over time: `60/minute`; also `/second`, `/hour`, `/day`. For each worker."
    )
    burst: Integer | None = Field(
        None, ge=1, description="How many at once; as many as the limit's number if not given."
    )
    key: Literal["ip", "session", "user", "route"] = Field(
        "ip", description="Whose requests count together: `ip` (IPv6 by /64), `session`, `user` or all of a `route`."
    )


class ResponseHeaders(Block):
    security: Flag = Field(True, description="Add nosniff, no-referrer, frame-ancestors 'none', and HSTS behind TLS.")


class HeaderEdit(Block):
    set: dict[str, Text] = Field(default_factory=dict, description="Headers to set.")
    remove: Texts = Field((), description="Headers to remove.")


class RouteHeaders(Block):
    request: HeaderEdit = Field(default_factory=HeaderEdit, description="Changes to the request that upstream gets.")
    response: HeaderEdit = Field(default_factory=HeaderEdit, description="Changes to the answer that the client gets.")


class Require(Block):
    roles: Texts = Field((), description="Any of these roles, besides the access rules.")


def _hosts(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


class RouteBlock(Block):
    path: Text = Field(description="Path pattern: literals, `{name}`, and `{name:**}` at the end.")
    host: Annotated[Texts, BeforeValidator(_hosts)] = Field((), description="Host names, exact or `*.example.com`.")
    handler: Text | None = Field(None, description="What answers; see the list of handlers.")
    upstream: Text | None = Field(None, description="Which upstream the request is relayed to.")
    rewrite: Text | None = Field(None, description="Path to send upstream, with the pattern's parameters.")
    methods: Methods = Field((), description="Methods served; the handler's own, or all six, if not given.")
    auth: Literal["session", "optional", "none"] = Field(
        "session", description="Whether a relayed route needs a session. Handlers know what they need."
    )
    require: Require = Field(default_factory=Require, description="What else the user must have.")
    action: Literal["execute", "view", "modify", "delete"] | None = Field(
        None, description="What the access rules are asked for; from the method if not given."
    )
    allow_from: Texts = Field((), description="Networks that may use the route; everyone if not given.")
    timeout: Duration | None = Field(None, description="Longest time until the upstream's response head.")
    max_body_size: Size | None = Field(None, description="Largest request body, instead of the server's limit.")
    rate_limit: Text | None = Field(None, description="Name of the rate limit that the route's requests count for.")
    websocket: Flag = Field(False, description="Pass WebSockets on; session and origin are checked at the handshake.")
    server_timing: Flag = Field(False, description="Tell clients in `Server-Timing` where the time went.")
    headers: RouteHeaders = Field(default_factory=RouteHeaders, description="Header changes.")
    cors: Cors | None = Field(None, description="Replaces the global block for this route.")


class Logging(Block):
    format: Literal["console", "json"] | None = Field(
        None,
        description="`console` or `json`; by default console on a terminal, json elsewhere.",
        json_schema_extra=env("LOG_FORMAT"),
    )
    level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least level that is logged.", json_schema_extra=env("LOG_LEVEL")
    )
    access: Flag = Field(True, description="One line per request.")


class AuditBlock(Block):
    file: Text = Field(
        description="The file, relative to the configuration file; rotated ones end in .1, .2 and so on."
    )
    max_size: Size = Field(100 * 1024**2, ge=4096, description="At this size it is rotated.")
    keep: Integer = Field(10, ge=0, le=1000, description="Rotated files that are kept.")
    key: Text | None = Field(
        None,
        description="Secret of the chain: with it a forger would need it too. Else anyone could write a new chain.",
        json_schema_extra=env(secret=True),
    )


class Metrics(Block):
    enabled: Flag = Field(True, description="Count requests for Prometheus, and serve `/metrics`.")
    allow_from: Texts = Field(
        ("127.0.0.0/8", "::1/128"),
        min_length=1,
        description="Networks that may read the built-in `/metrics`. A route table of one's own says it at its route.",
    )


class Tracing(Block):
    enabled: Flag = Field(False, description="Send spans; needs the extra `otel`. Requests then leave the fast lane.")
    endpoint: Text = Field("http://localhost:4318", description="OTLP collector, over HTTP.")


class Gateway(Block):
    """The whole file."""

    server: Server = Field(default_factory=Server, description="Where and how the gateway listens.")
    upstreams: dict[str, Upstream] = Field(
        default_factory=dict, description="Servers behind the gateway; `noetl` is the one that GraphQL uses."
    )
    auth: Auth = Field(default_factory=Auth, description="Who may sign in.")
    sessions: Sessions = Field(default_factory=Sessions, description="How long and where sessions live.")
    corsAllowedOrigins: Texts | None = Field(None, description="Short form of `cors.allowed_origins`.")
    cors: Cors = Field(default_factory=Cors, description="Which origins may read answers.")
    acl: Acl = Field(default_factory=Acl, description="Who may do what.")
    rate_limits: dict[str, RateLimitBlock] = Field(
        default_factory=dict,
        description="Named rate limits. `login`, in the built-in route table, is 60/minute with bursts of 30, by ip.",
    )
    graphql: Graphql = Field(default_factory=Graphql, description="The GraphQL endpoint.")
    live: Annotated[Live | None, Later("events and callbacks", (None,))] = Field(
        None, description="Events and callbacks."
    )
    headers: ResponseHeaders = Field(default_factory=ResponseHeaders, description="Added to our own answers.")
    routes: Annotated[tuple[RouteBlock, ...], ListOf] | None = Field(
        None, description="The route table, taken literally; the built-in one if not given."
    )
    logging: Logging = Field(default_factory=Logging, description="What is logged.")
    audit: AuditBlock | None = Field(
        None, description="Audit log: logins, logouts, denials, ended sessions. Off if not given."
    )
    metrics: Metrics = Field(default_factory=Metrics, description="Prometheus metrics.")
    tracing: Tracing = Field(default_factory=Tracing, description="OpenTelemetry traces.")
    include: Texts = Field((), description="Globs of files whose `routes` and `acl.rules` are added, in name order.")
