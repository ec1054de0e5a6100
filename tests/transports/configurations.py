# ruff: noqa: E501 - data in lines
"""Random configurations: each setting that the two transports could apply in two ways."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

RULES = """
acl:
  roles:
    staff: {emails: ["*@staff.test"]}
    admin: {emails: ["root@staff.test"]}
  rules:
    - {allow: ["*"], roles: [staff], paths: ["/noetl/**", "/open/**", "/maybe/**", "/limited/**", "/inside/**", "/admins/**", "/plain/**", "/hosted/**"]}
    - {deny: ["*"], roles: [staff], paths: ["/noetl/secret/**"]}
    - {allow: [view], roles: [staff], playbooks: ["team/**", "shared"]}
    - {allow: [execute], roles: [staff], playbooks: ["team/**"]}
    - {allow: ["*"], roles: [admin], playbooks: ["**"]}
"""
SETS = (
    "cookie: 'set=1'", "origin: http://set.test", "authorization: Basic c2V0", "user-agent: set/1", "x-custom: set", "X-Name: 'sét'", "accept: text/set",
    "content-type: text/set", "cache-control: no-cache", "vary: x-set", "server: set", "date: set", "etag: '\"set\"'",
)  # fmt: skip
REMOVED = (
    "cookie",
    "origin",
    "user-agent",
    "x-custom",
    "Accept",
    "x-name",
    "server",
    "vary",
    "cache-control",
    "date",
    "location",
    "x-removed",
)
CORS = (
    "corsAllowedOrigins: ['http://ours.test']\n",
    "cors: {allowed_origins: ['https://*.ours.test', 'http://ours.test'], allow_credentials: false}\n",
    "cors: {allowed_origins: ['*'], allow_credentials: false, exposed_headers: []}\n",
    "cors: {allowed_origins: ['*'], allow_credentials: false}\n",
    "",
)
KEYS = ("ip", "session", "user", "route")


@dataclass(frozen=True)
class Configuration:
    """A configuration; `URL0` to `URL2` in its text are those of the upstreams. `urls`: how many of them it uses."""

    text: str
    urls: int
    own_cookie: str


def edits(chance: Random, names: tuple[str, ...]) -> str:
    """A block of header edits."""
    to_set = {line.partition(":")[0].lower(): line for line in chance.sample(SETS, chance.randint(0, 3))}
    removed = [name for name in chance.sample(names, chance.randint(0, 3)) if name.lower() not in to_set]
    return f"{{set: {{{', '.join(to_set.values())}}}, remove: [{', '.join(removed)}]}}"


def configuration(chance: Random) -> Configuration:
    """A configuration that `check` accepts."""
    urls = chance.choice((1, 1, 1, 2, 3))
    server = [
        chance.choice(("", "trusted_proxies: [127.0.0.0/8]", "trusted_proxies: [127.0.0.0/8]")),
        chance.choice(("", "public_url: https://gateway.test")),
        chance.choice(("", "limits: {max_body_size: 512B}")),
    ]
    cookie = chance.choice(("", "sid", "session_token"))
    cors = chance.choice(CORS)
    if cookie and "'*'" in cors:
        cors = ""
    retries = chance.choice(("", ", retries: false", ", retries: {attempts: 2}"))
    location = chance.choice(("", ", rewrite_location: false"))
    balance = chance.choice(("round_robin", "round_robin", "least_requests", "consistent_hash, hash_on: execution_id", "consistent_hash, hash_on: session", "consistent_hash, hash_on: 'header:x-custom'"))  # fmt: skip
    text = [
        f"server: {{{', '.join(filter(None, server))}}}",
        "auth: {tenants: [{domain: localhost, issuer: 'http://localhost:1/', audience: [tests]}]}",
        RULES,
        f"upstreams: {{noetl: {{urls: [{', '.join(f'URL{n}' for n in range(urls))}], balance: {balance}{retries}{location}}}, plain: {{urls: [URL0]}}}}" if urls > 1 else
        f"upstreams: {{noetl: {{urls: [URL0]{retries}{location}}}, plain: {{urls: [URL0]}}}}",
        f"sessions: {{store: memory, bind: {chance.choice(('none',) * 8 + ('ip', 'user_agent'))}, cookie: {{enabled: {'true' if cookie else 'false'}, name: {cookie or 'session_token'}}}}}",
        cors,
        f"headers: {{security: {chance.choice(('true', 'false'))}}}",
        f"graphql: {{max_body_size: 2KiB, apq: {chance.choice(('true', 'false'))}, introspection: {chance.choice(('true', 'false'))}}}",
        f"rate_limits: {{api: {{limit: {chance.randint(1, 9)}/hour, burst: {chance.randint(1, 9)}, key: {chance.choice(KEYS)}}}}}",
        routes(chance),
    ]  # fmt: skip
    return Configuration("\n".join(text) + "\n", urls, cookie or "session_token")


def routes(chance: Random) -> str:
    """The table: relays with every kind of guard, and endpoints, some of them limited."""

    def relay(path: str, rewrite: str, *more: str) -> str:
        parts = [f"path: '{path}/{{path:**}}'", "upstream: noetl", f"rewrite: '{rewrite}/{{path}}'", *more]
        if chance.random() < 0.5:
            parts.append(f"headers: {{request: {edits(chance, REMOVED)}, response: {edits(chance, REMOVED)}}}")
        if chance.random() < 0.2:
            parts.append("cors: {allowed_origins: ['http://route.test']}")
        if chance.random() < 0.3:
            parts.append(f"max_body_size: {chance.choice(('64B', '1KiB'))}")
        if chance.random() < 0.2:
            parts.append("websocket: true")
        if chance.random() < 0.2:
            parts.append("server_timing: true")
        return f"  - {{{', '.join(parts)}}}"

    def endpoint(path: str, handler: str) -> str:
        limit = ", rate_limit: api" if chance.random() < 0.2 else ""
        return f"  - {{path: {path}, handler: {handler}{limit}}}"

    lines = [
        "routes:",
        relay("/noetl", "/api"),
        relay("/open", chance.choice(("/api/open", "/other")), "auth: none"),
        relay("/maybe", "/api/maybe", "auth: optional"),
        relay("/limited", "/api", "rate_limit: api"),
        relay("/inside", "/api", "allow_from: [198.51.100.0/24]"),
        relay("/admins", "/api", "require: {roles: [admin]}"),
        relay("/hosted", "/api/named", "host: gateway.test"),
        relay("/hosted", "/api/wild", "host: '*.test'"),
        relay("/hosted", "/api/any"),
        "  - {path: '/plain/{path:**}', upstream: plain}",
        endpoint("/graphql", "graphql"),
        endpoint("/health", "health"),
        endpoint("/api/auth/me", "auth.me"),
        endpoint("/api/auth/validate", "auth.validate"),
        endpoint("/api/auth/check-access", "auth.check_access"),
        endpoint("/api/auth/logout", "auth.logout"),
        endpoint("/api/auth/sessions", "auth.sessions"),
    ]
    return "\n".join(lines)
