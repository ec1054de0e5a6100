"""Scopes of requests."""

from __future__ import annotations

DEFAULT_SCOPE = ("openid", "profile", "email")


def parse_scope(text: str | None) -> tuple[str, ...]:
    """Return the requested scopes without duplicates, in order; without any, the default scopes."""
    return tuple(dict.fromkeys(text.split())) if text and text.strip() else DEFAULT_SCOPE
