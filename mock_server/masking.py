"""Masks: credentials in a journal or a recording stand there as the start of their digest.

Two equal credentials have equal masks, so that a test can still compare them.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import parse_qsl, urlencode

from .matching import body_members
from .messages import Request, to_json

EXACT = frozenset({"code", "code_verifier", "key", "sig", "dpop", "otp", "client_assertion", "login_ticket"})
PARTS = (
    "authorization", "cookie", "token", "secret", "passw", "apikey", "api_key", "api-key", "signature", "credential",
)  # fmt: skip
IN_RESPONSES = frozenset({
    "password", "client_secret", "refresh_token", "access_token", "id_token", "session_token", "auth0_token",
    "device_code", "api_key", "apikey", "secret",
})  # fmt: skip
_TOKEN = re.compile(rb"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*")
MAX_DEPTH = 32
MIN_CREDENTIAL = 8


def masked(value: str | bytes) -> str:
    """Return the mask of a credential."""
    data = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value
    return f"<sha256:{hashlib.sha256(data).hexdigest()[:12]}>"


def masked_headers(fields: Iterable[tuple[bytes, bytes]]) -> list[tuple[str, str]]:
    """Return header fields as text, with their credentials masked; a scheme such as `Bearer` stays."""
    found = []
    for raw_name, raw_value in fields:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        if _is_secret(name):
            scheme, blank, rest = value.partition(" ")
            value = f"{scheme} {masked(rest)}" if blank and name.endswith("authorization") else masked(value)
        found.append((name, value))
    return found


def credentials(request: Request) -> set[str]:
    """Return the credentials in a request, as far as they are long enough to be found again in a response."""
    found = {
        v.decode("latin-1").rpartition(" ")[2] for n, v in request.fields if _is_secret(n.decode("latin-1").lower())
    }
    found |= {value for name, value in request.query_pairs if _is_secret(name.lower())}
    found |= set(_secret_values(body_members(request)))
    return {value for value in found if len(value) >= MIN_CREDENTIAL}


def _secret_values(value: Any, depth: int = 0) -> Iterator[str]:
    if depth > MAX_DEPTH:
        return
    for name, item in value.items() if isinstance(value, dict) else ():
        if isinstance(item, str) and _is_secret(name.lower()):
            yield item
        yield from _secret_values(item, depth + 1)
    for item in value if isinstance(value, list) else ():
        yield from _secret_values(item, depth + 1)


def _is_secret(name: str, members: frozenset[str] | None = None) -> bool:
    """Return whether a name in lower case is that of a credential: one of a set, or, for requests, a likely one."""
    if members is not None:
        return name in members
    return name in EXACT or (name != "token_type" and any(part in name for part in PARTS))


def masked_query(query: str) -> str:
    """Return a query with its credentials masked."""
    if not query:
        return ""
    pairs = parse_qsl(query, keep_blank_values=True)
    if not any(_is_secret(name.lower()) for name, _ in pairs):
        return query
    return urlencode([(n, masked(v) if _is_secret(n.lower()) else v) for n, v in pairs], safe="<>:")


def masked_body(body: bytes, content_type: str, members: frozenset[str] | None = None) -> str:
    """Return a body as text, with the credentials in JSON members, form parameters and texts masked."""
    if content_type == "application/x-www-form-urlencoded":
        return masked_query(body.decode("utf-8", "replace"))
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):
        if members is None and _unreadable_secret(body):
            return masked(body)
    else:
        changed = _masked_value(parsed, members)
        if changed != parsed:  # otherwise the bytes stay as they are
            body = to_json(changed)
    return _TOKEN.sub(lambda found: masked(found[0]).encode(), body).decode("utf-8", "replace")


def _unreadable_secret(body: bytes) -> bool:
    """Return whether a body that is neither JSON nor a form may contain a credential."""
    lower = body.lower()
    return any(part.encode() in lower for part in PARTS)


def _masked_value(value: Any, members: frozenset[str] | None, depth: int = 0) -> Any:
    if depth > MAX_DEPTH:
        return "…"
    if isinstance(value, dict):
        return {
            name: masked(item)
            if isinstance(item, str) and _is_secret(name.lower(), members)
            else _masked_value(item, members, depth + 1)
            for name, item in value.items()
        }
    if isinstance(value, list):
        return [_masked_value(item, members, depth + 1) for item in value]
    return value
