"""Names of header fields that have a meaning for the gateway, in lower case. Pure data.

`header_plan.py` decides by them which fields are forwarded; `header_edits.py` which ones a configuration may edit.
"""

from __future__ import annotations

HOP_BY_HOP = frozenset({b"connection", b"keep-alive", b"te", b"trailer", b"transfer-encoding", b"upgrade"})
"""Fields for one connection only (RFC 9110, 7.6.1), besides `proxy-*` and those that `Connection` names."""
CREDENTIALS = frozenset({b"authorization", b"x-session-token"})
"""Fields that may carry a session token. They are never forwarded."""
GATEWAY_REQUEST = frozenset(
    {
        b"x-user-id", b"x-user-email", b"x-user-roles", b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host",
        b"x-forwarded-port", b"x-forwarded-server", b"x-real-ip", b"forwarded", b"via", b"x-request-id", b"host",
        b"content-length", b"expect", b"traceparent", b"cf-connecting-ip", b"true-client-ip",
        b"x-http-method-override", b"x-http-method", b"x-method-override", b"x-original-url", b"x-rewrite-url",
        b"x-original-uri", b"x-original-method", b"x-original-host", b"x-client-ip", b"remote-user", b"x-remote-user",
    }
)  # fmt: skip
"""Request fields that only the gateway sets upstream, or that no client may set there."""
PROXY_PREFIX = b"proxy-"
FORWARDED_PREFIX = b"x-forwarded-"
CORS_PREFIX = b"access-control-"


def connection_options(values: list[bytes]) -> frozenset[bytes]:
    """Return the members of `Connection` fields, in lower case (RFC 9110, 7.6.1)."""
    return frozenset(option for value in values for member in value.split(b",") if (option := member.strip().lower()))
