"""Which headers travel between client and upstream (RFC 9110, 7.6.1), and which only the gateway may set. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

Headers = list[tuple[str, str]]

HOP_BY_HOP = frozenset({"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"})
CREDENTIALS = frozenset({"authorization", "x-session-token"})
OURS = frozenset(
    {
        "x-user-id", "x-user-email", "x-user-roles", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host",
        "x-forwarded-port", "x-forwarded-server", "x-real-ip", "forwarded", "via", "x-request-id", "host",
        "content-length", "expect", "traceparent", "cf-connecting-ip", "true-client-ip",
        "x-http-method-override", "x-http-method", "x-method-override", "x-original-url", "x-rewrite-url",
        "x-original-uri", "x-original-method", "x-original-host", "x-client-ip", "remote-user", "x-remote-user",
    }
)  # fmt: skip
_NOT_PASSED = CREDENTIALS | OURS
OUR_PREFIX = "x-forwarded-"
_CORS_PREFIX = "access-control-"


def named_by_connection(headers: Iterable[tuple[str, str]]) -> frozenset[str]:
    """The header names that `Connection` declares hop-by-hop, in lower case."""
    return frozenset(
        token.strip().lower() for name, value in headers if name.lower() == "connection" for token in value.split(",")
    )


def is_hop_by_hop(lowered: str, named: frozenset[str]) -> bool:
    """Whether a header, by its name in lower case, is for one connection only; `named` are those of `Connection`."""
    return lowered in HOP_BY_HOP or lowered.startswith("proxy-") or lowered in named


def request_headers(headers: Sequence[tuple[str, str]], session_cookie: str | None) -> Headers:
    """What of a client's headers goes upstream; look-alikes with underscores do not, nor does the session cookie."""
    named = named_by_connection(headers)
    kept: Headers = []
    for name, value in headers:
        lowered = name.lower().replace("_", "-")
        if is_hop_by_hop(lowered, named) or name.lower() in named:
            continue
        if lowered in _NOT_PASSED or lowered.startswith(OUR_PREFIX) or ("_" in name and lowered.startswith("x-")):
            continue
        if lowered == "cookie" and session_cookie is not None:
            others = without_cookie(value, session_cookie)
            if value and not others:
                continue
            value = others
        kept.append((name, value))
    return kept


def response_headers(headers: Sequence[tuple[str, str]]) -> Headers:
    """What of an upstream's headers goes to the client; the origin policy is the gateway's own."""
    named = named_by_connection(headers)
    return [
        (name, value)
        for name, value in headers
        if not is_hop_by_hop(lowered := name.lower(), named)
        and not lowered.startswith(_CORS_PREFIX)
        and lowered != "x-request-id"
    ]


def without_cookie(value: str, name: str) -> str:
    """A `Cookie` value without one cookie; as it is, if that cookie is not in it."""
    pairs = [pair.strip() for pair in value.split(";")]
    others = [pair for pair in pairs if pair.partition("=")[0].strip() != name]
    return value if len(others) == len(pairs) else "; ".join(pair for pair in others if pair)
