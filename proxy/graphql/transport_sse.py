"""GraphQL over server-sent events (graphql-sse, PROTOCOL.md): its messages and its reservations. Pure.

A reservation is a random number with its keyed hash. The key is that of the session, so that every worker recognises a
reservation of the session, and none has to be stored.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from typing import Any

from proxy.errors import BadRequest
from proxy.http.json import is_text, write_json
from proxy.live.messages import server_sent

TOKEN_HEADER = b"x-graphql-event-stream-token"
MAX_ID = 128
"""The longest id of an operation."""
_RESERVATION = re.compile(r"[0-9a-f]{64}")
_NONCE = 32
_PURPOSE = b"graphql-sse reservation "


def next_event(result: bytes, identity: str | None = None) -> bytes:
    """Return the event with a result; `identity` is that of the operation, on a stream of several."""
    if identity is None:
        return server_sent("next", result)
    return server_sent("next", b'{"id":%b,"payload":%b}' % (write_json(identity), result))


def complete_event(identity: str | None = None) -> bytes:
    """Return the event that an operation is complete."""
    return server_sent("complete", b"" if identity is None else b'{"id":%b}' % write_json(identity))


def new_reservation(key: bytes) -> str:
    """Return a reservation for a session with this key."""
    nonce = secrets.token_hex(_NONCE // 2)
    return nonce + _mac(key, nonce)


def is_reservation(key: bytes, token: str) -> bool:
    """Return whether a token is a reservation of the session with this key."""
    if not _RESERVATION.fullmatch(token):
        return False
    return hmac.compare_digest(token[_NONCE:], _mac(key, token[:_NONCE]))


def _mac(key: bytes, nonce: str) -> str:
    return hmac.new(key, _PURPOSE + nonce.encode(), hashlib.sha256).hexdigest()[:_NONCE]


def operation_id(document: Any) -> str:
    """Return the id of the operation in the JSON body of a request on a stream of several. Raises BadRequest."""
    extensions = document.get("extensions") if isinstance(document, Mapping) else None
    return checked_id(extensions.get("operationId") if isinstance(extensions, Mapping) else None)


def checked_id(found: Any) -> str:
    """Return the id of an operation. Raises BadRequest for one that is missing or too long."""
    if not is_text(found) or not 0 < len(found) <= MAX_ID:
        raise BadRequest(f"operationId is required: a text of 1 to {MAX_ID} characters")
    return found
