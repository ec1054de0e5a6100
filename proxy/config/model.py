"""The model of gateway.yaml: one class per block, one field per key.

A field's description is its user documentation; default, JSON Schema, environment variable and reference page all
come from here. Checks that need more than one field are in `checks.py`.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from proxy.config.block import Block, Methods, Verb, env
from proxy.config.later import Later
from proxy.config.model_identity import Auth, Sessions
from proxy.config.model_upstreams import Upstream
from proxy.config.types import Claims, Duration, Flag, FromEnvironment, Integer, ListOf, Size, Text, Texts


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
    set: dict[str, Text] = Field(
        default_factory=dict,
        description="Headers to set; a value is one line of visible Latin-1. Not those that the gateway sets itself.",
        json_schema_extra=env(secret=True),
    )
    remove: Texts = Field((), description="Headers to remove. Not those that the gateway sets itself.")


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
        description="The file, relative to the configuration file; rotated ones end in .1, .2 and so on. `-` is stdout."
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
