"""The fields that only the gateway sets upstream: who is asking, from where, and on which way. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from proxy.http.client_address import UNKNOWN

VIA = "1.1 noetl-edge"


class User(NamedTuple):
    """A signed-in user as an upstream is shown one."""

    user_id: int
    email: str
    roles: Iterable[str]


def identity_lines(user: User | None, address: str, scheme: str, host: str) -> bytes:
    """Return the identity and forwarding fields of a request (RFC 7239; RFC 9110, 7.6.3), each with its line end.

    `address` is the client's, `host` the request's own `Host`.
    """
    node = f'"[{address}]"' if ":" in address else UNKNOWN if address == UNKNOWN else address
    fields = [
        ("x-forwarded-for", address),
        ("x-forwarded-proto", scheme),
        ("x-forwarded-host", host),
        ("forwarded", f'for={node};host="{host}";proto={scheme}'),
        ("via", VIA),
    ]
    if user is not None:
        roles = ",".join(sorted(user.roles))
        fields[:0] = [
            ("x-user-id", str(user.user_id)),
            ("x-user-email", _value(user.email)),
            ("x-user-roles", _value(roles)),
        ]
    return "".join(f"{name}: {value}\r\n" for name, value in fields).encode("latin-1")


def _value(text: str) -> str:
    """Return a text as a field value: one line whatever the token says, its UTF-8 bytes as Latin-1 characters."""
    single = "".join(char if char >= " " and char != "\x7f" else " " for char in text)
    return single if single.isascii() else single.encode("utf-8", "replace").decode("latin-1")
