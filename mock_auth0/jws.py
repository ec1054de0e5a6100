"""The compact serialization of signed tokens (RFC 7515, 7.1)."""

from __future__ import annotations

import json
from collections.abc import Mapping

from .keys import SigningKey, b64url

LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"


def to_json(value: object) -> bytes:
    """Return a value as compact JSON in ASCII."""
    return json.dumps(value, separators=(",", ":")).encode("ascii")


def encode(header: Mapping[str, object], claims: Mapping[str, object], key: SigningKey) -> str:
    """Return a token."""
    message = f"{b64url(to_json(header))}.{b64url(to_json(claims))}"
    return f"{message}.{b64url(key.sign(message.encode('ascii')))}"
