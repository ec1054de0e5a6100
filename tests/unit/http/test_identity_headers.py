"""What an upstream learns about the user and the client."""

from __future__ import annotations

import pytest

from proxy.http.client_address import UNKNOWN
from proxy.http.identity_headers import User, identity_lines


def fields(
    user: User | None, address: str = "192.0.2.1", scheme: str = "https", host: str = "a.test:8443"
) -> list[str]:
    """Return the lines of the fields as text, without their line ends."""
    text = identity_lines(user, address, scheme, host).decode("latin-1")
    assert text.endswith("\r\n")
    return text.removesuffix("\r\n").split("\r\n")


def test_user_comes_first_and_roles_are_sorted() -> None:
    assert fields(User(7, "anna@x.org", {"ops", "dev"})) == [
        "x-user-id: 7",
        "x-user-email: anna@x.org",
        "x-user-roles: dev,ops",
        "x-forwarded-for: 192.0.2.1",
        "x-forwarded-proto: https",
        "x-forwarded-host: a.test:8443",
        'forwarded: for=192.0.2.1;host="a.test:8443";proto=https',
        "via: 1.1 noetl-edge",
    ]


def test_request_without_a_session_has_no_identity() -> None:
    assert [line for line in fields(None) if line.startswith("x-user-")] == []


@pytest.mark.parametrize(
    ("address", "node"), [("2001:db8::1", '"[2001:db8::1]"'), (UNKNOWN, UNKNOWN), ("192.0.2.1", "192.0.2.1")]
)
def test_address_in_forwarded_is_quoted_where_it_must_be(address: str, node: str) -> None:
    assert f'forwarded: for={node};host="h";proto=http' in fields(None, address, "http", "h")


@pytest.mark.parametrize(
    ("email", "value"),
    [
        ("a@x.org\r\nx-user-roles: admin", "a@x.org  x-user-roles: admin"),
        ("a\x00b\x7fc\td@x.org", "a b c d@x.org"),
        ("ä漢@x.org", "ä漢@x.org".encode().decode("latin-1")),
        ("\ud800@x.org", "?@x.org"),
        ("", ""),
    ],
    ids=["line break", "control characters", "UTF-8", "lone surrogate", "empty"],
)
def test_claim_is_one_line_whatever_the_token_says(email: str, value: str) -> None:
    lines = fields(User(1, email, ()))
    assert lines[:3] == ["x-user-id: 1", f"x-user-email: {value}", "x-user-roles: "]
