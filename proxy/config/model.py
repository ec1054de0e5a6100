"""The model of gateway.yaml: one class per block, one field per key.

The description of a field is its user documentation. The defaults, the JSON Schema, the environment variables and the
reference page are generated from the model. Checks that need more than one field are in `checks.py`.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ModelWrapValidatorHandler, PrivateAttr, model_validator

from proxy.config.block import Block, Methods, env
from proxy.config.model_acl import Acl
from proxy.config.model_identity import Auth, Sessions
from proxy.config.model_upstreams import Upstream
from proxy.config.types import (
    Duration,
    Flag,
    FromEnvironment,
    Integer,
    ListOf,
    SecretFromEnvironment,
    Size,
    Text,
    Texts,
)


class Tls(Block):
    certificate: Text = Field(description="PEM file with the certificate chain.")
    key: Text = Field(description="PEM file with the private key.")


class ServerLimits(Block):
    header_timeout: Duration = Field(10.0, gt=0, description="Maximum time to receive a whole request head.")
    body_timeout: Duration = Field(
        30.0, gt=0, description="Maximum pause while a request body is received or a client reads a response."
    )
    min_rate: Size = Field(
        240,
        description="Minimum bytes per second of a body, in both directions, after `body_timeout`; 0B turns this off.",
    )
    idle_timeout: Duration = Field(75.0, gt=0, description="Maximum idle time of a keep-alive connection.")
    max_header_size: Size = Field(16384, description="Maximum size of the headers, and of the request line.")
    max_headers: Integer = Field(100, ge=1, description="Maximum number of header fields in a request.")
    max_body_size: Size = Field(10 * 1024**2, description="Maximum size of a request body; a route can override it.")
    max_connections: Integer = Field(10000, ge=1, description="Maximum client connections per worker; more get 503.")
    max_connections_per_ip: Integer = Field(
        0, ge=0, description="Maximum client connections of one address per worker; 0 means no limit."
    )


def _workers(value: Any) -> Any:
    if isinstance(value, FromEnvironment) and value.isdecimal():
        value = int(value)
    if value != "auto" and (type(value) is not int or not 1 <= value <= 256):
        raise ValueError("must be a number from 1 to 256, or auto")
    return value


class Server(Block):
    host: Text = Field("127.0.0.1", description="Address to listen on.", json_schema_extra=env("GATEWAY_BIND"))
    port: Integer = Field(
        8090,
        ge=0,
        le=65535,
        description="Port to listen on; 0 selects a free port.",
        json_schema_extra=env("ROUTER_PORT", "GATEWAY_PORT"),
    )
    workers: Annotated[int | Literal["auto"], BeforeValidator(_workers)] = Field(
        1, description="Worker processes: a number, or `auto` for one per core."
    )
    public_url: Text | None = Field(
        None,
        description="URL at which browsers and workers reach this gateway; `http://localhost:PORT` if not set.",
        json_schema_extra=env("GATEWAY_PUBLIC_URL"),
    )
    tls: Tls | None = Field(
        None, description="Serve HTTPS with this certificate; it is reloaded when its files change."
    )
    trusted_proxies: Texts = Field(
        (), description="Networks of proxies whose X-Forwarded-For, X-Forwarded-Proto and CF-Connecting-IP are trusted."
    )
    limits: ServerLimits = Field(default_factory=ServerLimits, description="Limits on client connections and requests.")
    shutdown_grace: Duration = Field(30.0, description="Maximum time after SIGTERM for requests in progress to finish.")


class Cors(Block):
    allowed_origins: Texts = Field(
        (),
        description="Exact origins, or `*` as the first label; `*` alone only without credentials.",
        json_schema_extra=env("CORS_ALLOWED_ORIGINS"),
    )
    allow_credentials: Flag = Field(
        True, description="Allow browsers to send credentials.", json_schema_extra=env("CORS_ALLOW_CREDENTIALS")
    )
    allowed_methods: Texts = Field(
        ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"), description="Methods that a preflight response allows."
    )
    allowed_headers: Texts = Field(
        (
            "authorization", "content-type", "accept", "x-session-token", "x-session-id", "x-user-id", "x-request-id",
            "x-requested-with", "apollo-require-preflight", "last-event-id", "traceparent",
            "x-graphql-event-stream-token",
        ),
        description="Request headers that a preflight response allows.",
    )  # fmt: skip
    exposed_headers: Texts = Field(("x-request-id",), description="Response headers that scripts may read.")
    max_age: Duration = Field(600.0, description="How long browsers may cache a preflight response.")
    allow_private_network: Flag = Field(False, description="Allow private-network preflight requests.")


class GraphqlLimits(Block):
    size: Size = Field(
        64 * 1024, ge=1, description="Maximum size of a document's text; use variables for large values."
    )
    tokens: Integer = Field(1000, ge=1, description="Maximum number of tokens in a document.")
    depth: Integer = Field(8, ge=1, description="Maximum nesting of fields; introspection may be deeper.")
    aliases: Integer = Field(15, ge=0, description="Maximum number of aliases in an operation.")
    root_fields: Integer = Field(10, ge=1, description="Maximum number of root fields in an operation.")
    directives: Integer = Field(20, ge=0, description="Maximum number of directives in a document.")
    cost: Integer = Field(
        10_000,
        ge=1,
        le=999_999,
        description="Maximum cost of an operation. A field costs 1; one that calls NoETL or is a list costs 10. The "
        "fields in a list count per item; `first` is the number of items (1000 for a variable, 4 if absent).",
    )
    batch: Integer = Field(1, ge=1, description="Maximum number of requests in a batch; 1 rejects batches.")
    subscriptions: Integer = Field(
        50,
        ge=1,
        description="Maximum number of subscriptions, and other operations on streams, that run at a time for one "
        "session, per worker.",
    )


class IntrospectionRoles(Block):
    roles: Texts = Field(min_length=1, description="Roles that may introspect.")


def _introspection(value: Any) -> Any:
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    if not isinstance(value, bool | dict | IntrospectionRoles):
        raise ValueError("must be true, false or roles: [NAME]")
    return IntrospectionRoles.model_validate(value) if isinstance(value, dict) else value


class Graphql(Block):
    introspection: Annotated[bool | IntrospectionRoles, BeforeValidator(_introspection)] = Field(
        True, description="`true`, `false`, or `roles: [admin]`."
    )
    graphiql: Flag = Field(True, description="Show GraphiQL to browsers on GET.")
    get: Literal["off", "queries"] = Field("queries", description="Whether GET requests may send queries.")
    max_body_size: Size = Field(1024**2, description="Maximum size of a request body.")
    limits: GraphqlLimits = Field(
        default_factory=GraphqlLimits, description="Limits on documents, checked before validation."
    )
    validation_timeout: Duration = Field(
        0.1, gt=0, description="Maximum processor time to validate and plan a document that is not cached."
    )
    trusted_documents: Text | None = Field(
        None,
        description="Folder, relative to the configuration file, with `*.graphql` files and JSON manifests (SHA-256 to "
        "text). If set, only these documents run, by hash or by their exact text; other documents, including "
        "introspection and those typed into GraphiQL, are rejected. A reload reads the folder again.",
    )
    apq: Flag = Field(
        False,
        description="Automatic persisted queries: a client sends a document once, and only its SHA-256 after that.",
    )
    apq_size: Size = Field(
        4 * 1024**2,
        ge=64 * 1024,
        description="Memory per worker for persisted queries; one user can use a quarter of it at most.",
    )
    suggestions: Flag = Field(False, description="Include `Did you mean` suggestions in validation errors.")
    document_cache: Integer = Field(
        1000,
        ge=0,
        description="Maximum number of cached documents, which are not parsed and validated again. "
        "They take at most 64 MiB of memory.",
    )
    timeout: Duration = Field(30.0, gt=0, description="Maximum time for one operation.")


class Live(Block):
    heartbeat: Duration = Field(
        30.0, gt=0, description="Time between pings.", json_schema_extra=env("GATEWAY_HEARTBEAT_INTERVAL_SECS")
    )
    request_lifetime: Duration = Field(
        1800.0, gt=0, description="How long a pending request is kept, and the events of a client that is away."
    )
    queue: Integer = Field(
        256, ge=1, le=10_000, description="Maximum number of events that wait for one stream; a slower one is closed."
    )
    follow: Flag = Field(
        True,
        description="Poll executions that were started with a `clientId` until a callback arrives. Those that "
        "are subscribed to are always polled.",
    )
    internal_allow_from: Texts = Field(
        ("127.0.0.0/8", "::1/128", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"),
        min_length=1,
        description="Networks that may send callbacks.",
    )
    internal_token: Text | None = Field(
        None, description="If set, callbacks must send this token.", json_schema_extra=env(secret=True)
    )


def _limit(value: Any) -> Any:
    if isinstance(value, str | int | float) and not re.fullmatch(
        r"[1-9][0-9]{0,8}/(second|minute|hour|day)", str(value)
    ):
        raise ValueError(f'"{value}" is not a rate: write a number and a unit of time, such as 60/minute or 5/second')
    return value


class RateLimitBlock(Block):
    limit: Annotated[Text, BeforeValidator(_limit)] = Field(
        description="Requests per unit of time, such as `60/minute`; also `/second`, `/hour`, `/day`. Per worker; of "
        "all processes together with `sessions.store: redis`."
    )
    burst: Integer | None = Field(
        None, ge=1, description="Maximum number of requests at once; the number in `limit` if not set."
    )
    key: Literal["ip", "session", "user", "route"] = Field(
        "ip",
        description="Which requests count together: those of one `ip` (IPv6: /64), `session`, `user` or `route`.",
    )


class ResponseHeaders(Block):
    security: Flag = Field(
        True,
        description="Add nosniff, no-referrer, frame-ancestors 'none', and HSTS behind TLS; to relayed responses "
        "nosniff only.",
    )


class HeaderEdit(Block):
    set: dict[str, Text] = Field(
        default_factory=dict,
        description="Headers to set, except those of the gateway. A value is one line of visible Latin-1.",
        json_schema_extra=env(secret=True),
    )
    remove: Texts = Field((), description="Headers to remove, except those of the gateway.")
    _secret_names: frozenset[str] = PrivateAttr(frozenset())

    @model_validator(mode="wrap")
    @classmethod
    def _find_secrets(cls, data: Any, handler: ModelWrapValidatorHandler[HeaderEdit]) -> HeaderEdit:
        edit = handler(data)
        given = data.get("set") if isinstance(data, dict) else None
        if isinstance(given, dict):
            edit._secret_names = frozenset(n for n, v in given.items() if isinstance(v, SecretFromEnvironment))
        return edit

    @property
    def secret_names(self) -> frozenset[str]:
        """The names in `set` whose value comes from a file, or from a variable with a secret's name."""
        return self._secret_names


class RouteHeaders(Block):
    request: HeaderEdit = Field(default_factory=HeaderEdit, description="Changes to the request that is sent upstream.")
    response: HeaderEdit = Field(
        default_factory=HeaderEdit, description="Changes to the response that is sent to the client."
    )


class Require(Block):
    roles: Texts = Field((), description="Roles of which the user must have one, in addition to the access rules.")


def _hosts(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


class RouteBlock(Block):
    path: Text = Field(description="Path pattern: literals, `{name}`, and `{name:**}` at the end.")
    host: Annotated[Texts, BeforeValidator(_hosts)] = Field((), description="Host names, exact or `*.example.com`.")
    handler: Text | None = Field(None, description="The handler that serves the route; see the list of handlers.")
    upstream: Text | None = Field(None, description="The upstream that the request is forwarded to.")
    rewrite: Text | None = Field(None, description="Path of the upstream request, with the parameters of the pattern.")
    methods: Methods = Field(
        (), description="Accepted methods; if not set, those of the handler, or all six for an upstream."
    )
    auth: Literal["session", "optional", "none"] = Field(
        "session", description="Whether a route with an upstream needs a session. A handler defines this itself."
    )
    require: Require = Field(default_factory=Require, description="Additional requirements on the user.")
    action: Literal["execute", "view", "modify", "delete", "admin"] | None = Field(
        None,
        description="The action for access rules on the path; if not set, the endpoint or the method determines it.",
    )
    allow_from: Texts = Field((), description="Networks whose clients may use the route; all if not set.")
    timeout: Duration | None = Field(None, gt=0, description="Maximum time until the upstream's response head.")
    max_body_size: Size | None = Field(
        None, description="Maximum size of a request body, instead of the server's limit."
    )
    rate_limit: Text | None = Field(None, description="Name of the rate limit that applies to the route.")
    websocket: Flag = Field(
        False, description="Forward WebSockets; session and origin are checked during the handshake."
    )
    server_timing: Flag = Field(False, description="Send clients a `Server-Timing` header with the time per step.")
    headers: RouteHeaders = Field(default_factory=RouteHeaders, description="Header edits.")
    cors: Cors | None = Field(None, description="Replaces the global `cors` block for this route.")


class Logging(Block):
    format: Literal["console", "json"] | None = Field(
        None,
        description="`console` or `json`; by default console on a terminal, json elsewhere.",
        json_schema_extra=env("LOG_FORMAT"),
    )
    level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Minimum level that is logged.", json_schema_extra=env("LOG_LEVEL")
    )
    access: Flag = Field(True, description="Log one line per request.")


class AuditBlock(Block):
    file: Text = Field(
        description="Log file, relative to the configuration file; rotated files end in .1, .2 and so on. `-`: stdout."
    )
    max_size: Size = Field(100 * 1024**2, ge=4096, description="Size at which the file is rotated.")
    keep: Integer = Field(10, ge=0, le=1000, description="Number of rotated files that are kept.")
    key: Text | None = Field(
        None,
        description="Secret for the hashes of lines. Without it, anyone who can write the file can forge a valid log.",
        json_schema_extra=env(secret=True),
    )


class Metrics(Block):
    enabled: Flag = Field(True, description="Count requests for Prometheus, and serve `/metrics`.")
    allow_from: Texts = Field(
        ("127.0.0.0/8", "::1/128"),
        min_length=1,
        description="Networks that may read the built-in `/metrics`. With your own `routes`, use `allow_from` there.",
    )


class Tracing(Block):
    enabled: Flag = Field(False, description="Send spans; needs the extra `otel`.")
    endpoint: Text = Field("http://localhost:4318", description="URL of the OTLP collector (HTTP).")


class Gateway(Block):
    """The whole file."""

    server: Server = Field(default_factory=Server, description="Address, limits and worker processes.")
    upstreams: dict[str, Upstream] = Field(
        default_factory=dict, description="Servers behind the gateway; GraphQL uses the one of kind `noetl`."
    )
    auth: Auth = Field(default_factory=Auth, description="Who may sign in.")
    sessions: Sessions = Field(default_factory=Sessions, description="Storage and lifetime of sessions.")
    corsAllowedOrigins: Texts | None = Field(None, description="Short form of `cors.allowed_origins`.")
    cors: Cors = Field(default_factory=Cors, description="Which origins may read responses.")
    acl: Acl = Field(default_factory=Acl, description="Roles and access rules.")
    rate_limits: dict[str, RateLimitBlock] = Field(
        default_factory=dict,
        description="Named rate limits. The built-in route table uses `login`: 60/minute, burst 30, by ip.",
    )
    graphql: Graphql = Field(default_factory=Graphql, description="The GraphQL endpoint.")
    live: Live = Field(default_factory=Live, description="Event streams, and callbacks of playbooks.")
    headers: ResponseHeaders = Field(
        default_factory=ResponseHeaders, description="Headers that are added to responses."
    )
    builtin_routes: Flag = Field(
        True,
        description="Serve the built-in routes besides `routes`; a route of the same path and method replaces them.",
    )
    routes: Annotated[tuple[RouteBlock, ...], ListOf] | None = Field(
        None, description="Routes of your own, besides the built-in ones."
    )
    logging: Logging = Field(default_factory=Logging, description="Format and level of the log.")
    audit: AuditBlock | None = Field(
        None, description="Audit log of logins, logouts, denials and ended sessions; off if not set."
    )
    metrics: Metrics = Field(default_factory=Metrics, description="Prometheus metrics.")
    tracing: Tracing = Field(default_factory=Tracing, description="OpenTelemetry traces.")
    include: Texts = Field(
        (), description="Globs of files whose `routes` and `acl.rules` are added, in order of their names."
    )
