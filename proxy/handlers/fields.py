"""The header fields that only the gateway sets on requests to an upstream: who is asking, from where, by what way."""

from __future__ import annotations

from proxy.access import Principal

Headers = list[tuple[str, str]]


def user_fields(principal: Principal) -> Headers:
    """Who is asking."""
    identity = principal.session.identity
    return [
        ("x-user-id", str(principal.user_id)),
        ("x-user-email", _field(identity.email)),
        ("x-user-roles", _field(",".join(sorted(principal.subject.roles)))),
    ]


def forwarding_fields(address: str, scheme: str, host: str) -> Headers:
    """From where and by what way (RFC 7239; RFC 9110, 7.6.3)."""
    node = f'"[{address}]"' if ":" in address else address
    return [
        ("x-forwarded-for", address),
        ("x-forwarded-proto", scheme),
        ("x-forwarded-host", host),
        ("forwarded", f'for={node};host="{host}";proto={scheme}'),
        ("via", "1.1 noetl-edge"),
    ]


def _field(text: str) -> str:
    """A text as a field value: UTF-8 in Latin-1's clothes, and in one line whatever the token said."""
    single = "".join(char if char >= " " and char != "\x7f" else " " for char in text)
    return single if single.isascii() else single.encode().decode("latin-1")
