"""The handlers that routes can name, and the built-in route table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from proxy.config.model_upstreams import noetl_upstreams


@dataclass(frozen=True, slots=True)
class HandlerFacts:
    """The description of a handler.

    Args:
        methods: the methods that it supports.
        summary: what it does, in one line.
        session: `needed`, `optional`, `own` (the token may also be in the request body) or `none` (not checked).
        later: the feature that is missing, if the handler is not available yet.
    """

    methods: tuple[str, ...]
    summary: str
    session: str = "none"
    later: str = ""


HANDLERS: dict[str, HandlerFacts] = {
    "health": HandlerFacts(("GET",), "200 `ok` while the process runs"),
    "ready": HandlerFacts(("GET",), "200 or 503 with the state of upstreams, session store and key sets"),
    "metrics": HandlerFacts(("GET",), "Prometheus text"),
    "runtime.contract": HandlerFacts(("GET",), "the settings that the command line needs to sign in"),
    "graphql": HandlerFacts(
        ("GET", "POST", "PUT", "DELETE"),
        "GraphQL over HTTP, event streams and WebSockets, which needs a session, and GraphiQL, which does not",
        "optional",
    ),
    "static": HandlerFacts(("GET",), "files of a folder", later="static files"),
    "auth.login": HandlerFacts(("POST",), "exchange an Auth0 token for a session"),
    "auth.validate": HandlerFacts(("POST",), "whether a session is valid, and its user", "own"),
    "auth.check_access": HandlerFacts(("POST",), "whether the user has a permission for a playbook", "own"),
    "auth.logout": HandlerFacts(("POST",), "end the session, or all sessions of the user", "own"),
    "auth.sessions": HandlerFacts(("GET", "DELETE"), "list the user's sessions; DELETE with `{id}` ends one", "needed"),
    "auth.me": HandlerFacts(("GET",), "the signed-in user", "needed"),
    "auth.ticket": HandlerFacts(("POST",), "a single-use ticket, valid for 30 s", "needed"),
    "auth.backchannel_logout": HandlerFacts(
        ("POST",), "OpenID Connect back-channel logout: the identity provider ends sessions"
    ),
    "live.events": HandlerFacts(("GET",), "server-sent events: results and progress of executions", "own"),
    "live.socket": HandlerFacts(("GET",), "the same events over a WebSocket", "own"),
    "live.callback": HandlerFacts(("POST",), "callback of an auth playbook"),
    "live.callback_async": HandlerFacts(("POST",), "the result of a playbook, from its worker"),
    "live.progress": HandlerFacts(("POST",), "the progress of a playbook, from its worker"),
    "sharding.preview": HandlerFacts(("GET",), "the shard of an execution, by NoETL's scheme"),
}

BUILTIN_ROUTES: tuple[dict[str, Any], ...] = (
    {"path": "/health", "handler": "health"},
    {"path": "/ready", "handler": "ready"},
    {"path": "/metrics", "handler": "metrics"},
    {"path": "/api/runtime/contract", "handler": "runtime.contract"},
    {"path": "/api/auth/login", "handler": "auth.login", "rate_limit": "login"},
    {"path": "/api/auth/validate", "handler": "auth.validate"},
    {"path": "/api/auth/check-access", "handler": "auth.check_access"},
    {"path": "/api/auth/logout", "handler": "auth.logout"},
    {"path": "/api/auth/sessions", "handler": "auth.sessions", "methods": ["GET"]},
    {"path": "/api/auth/sessions/{id}", "handler": "auth.sessions", "methods": ["DELETE"]},
    {"path": "/api/auth/ticket", "handler": "auth.ticket"},
    {"path": "/api/auth/me", "handler": "auth.me"},
    {"path": "/api/auth/backchannel-logout", "handler": "auth.backchannel_logout"},
    {"path": "/graphql", "handler": "graphql"},
    {"path": "/events", "handler": "live.events"},
    {"path": "/ws", "handler": "live.socket"},
    {"path": "/api/internal/callback", "handler": "live.callback"},
    {"path": "/api/internal/callback/async", "handler": "live.callback_async"},
    {"path": "/api/internal/progress", "handler": "live.progress"},
    {"path": "/sharding/preview", "handler": "sharding.preview"},
    {"path": "/noetl/{path:**}", "upstream": "noetl", "rewrite": "/api/{path}"},
)


CALLBACKS = frozenset({"live.callback", "live.callback_async", "live.progress"})
"""Handlers that accept requests of workers only: of the networks in `live.internal_allow_from`."""
BUILTIN_LIMITS: dict[str, dict[str, Any]] = {"login": {"limit": "60/minute", "burst": 30, "key": "ip"}}
"""The rate limits that the built-in routes use, unless the file defines them."""

RELAYED_SUMMARY = "forward to the NoETL API, if the access rules allow it"


def builtin_routes(upstreams: object) -> list[dict[str, Any]]:
    """Return the built-in table; without an upstream of kind `noetl`, it has no forwarded routes and no GraphQL."""
    names = noetl_upstreams(upstreams)
    if not names:
        return [dict(r) for r in BUILTIN_ROUTES if r.get("upstream") is None and r["handler"] != "graphql"]
    return [{**r, "upstream": names[0]} if "upstream" in r else dict(r) for r in BUILTIN_ROUTES]
