"""The kinds of errors: of a response by its status, and of a GraphQL response by its codes."""

from __future__ import annotations

from typing import Any

_OF_SERVERS = ("UPSTREAM_", "INTERNAL")


def kind_of(status: int, error: BaseException | None) -> str:
    """Return the kind of an error by the status of a response (0: none) or an exception."""
    if status == 429:
        return "429"
    if status >= 500:
        return "5xx"
    if status >= 400:
        return "4xx"
    if status > 0:
        return "wrong"
    return "timeout" if "timed out" in str(error).lower() or "timeout" in type(error).__name__.lower() else "connection"


def graphql_kind(body: Any) -> str:
    """Return the kind of the error in a GraphQL response; empty if it has data and no errors."""
    if not isinstance(body, dict):
        return "wrong"
    errors = body.get("errors")
    if not errors and isinstance(body.get("data"), dict):
        return ""
    return "5xx" if any(_code(error).startswith(_OF_SERVERS) for error in errors or []) else "wrong"


def _code(error: Any) -> str:
    extensions = error.get("extensions") if isinstance(error, dict) else None
    return str(extensions.get("code", "")) if isinstance(extensions, dict) else ""
