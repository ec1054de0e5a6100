"""From where a bound session may be used."""

from __future__ import annotations

import pytest

from proxy.policy.binding import Bind, binding_mismatch

LOGIN = ("192.0.2.1", "browser")


@pytest.mark.parametrize(
    ("bind", "now", "what"),
    [
        (Bind.NONE, ("198.51.100.1", "other"), ""),
        (Bind.IP, LOGIN, ""),
        (Bind.IP, ("192.0.2.1", "other"), ""),
        (Bind.IP, ("192.0.2.2", "browser"), "address"),
        (Bind.IP, ("::ffff:192.0.2.1", "browser"), ""),
        (Bind.IP, ("", "browser"), "address"),
        (Bind.USER_AGENT, ("192.0.2.2", "browser"), ""),
        (Bind.USER_AGENT, ("192.0.2.1", "Browser"), "user agent"),
        (Bind.USER_AGENT, ("192.0.2.1", ""), "user agent"),
        (Bind.BOTH, LOGIN, ""),
        (Bind.BOTH, ("192.0.2.2", "browser"), "address"),
        (Bind.BOTH, ("192.0.2.1", "other"), "user agent"),
    ],
)
def test_a_session_strays_when_what_it_is_bound_to_differs(bind: Bind, now: tuple[str, str], what: str) -> None:
    assert binding_mismatch(bind, LOGIN, now) == what


@pytest.mark.parametrize(("now", "what"), [("2001:db8:0:1::9", ""), ("2001:db8:0:2::1", "address")])
def test_an_ipv6_address_is_compared_by_its_64_bits_of_network(now: str, what: str) -> None:
    assert binding_mismatch(Bind.IP, ("2001:db8:0:1::1", ""), (now, "")) == what
