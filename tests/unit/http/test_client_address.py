# ruff: noqa: E501 - data in lines
"""The client's address and scheme behind trusted proxies."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from proxy.http.client_address import UNKNOWN, client_address, forwarded_scheme, in_networks, read_address

PROXIES = (ip_network("127.0.0.0/8"), ip_network("10.0.0.0/8"), ip_network("fd00::/8"))


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("198.51.100.7", "198.51.100.7"), ("198.51.100.7:17085", "198.51.100.7"), ("[2001:db8::1]:443", "2001:db8::1"), ("[2001:DB8::1]", "2001:db8::1"),
        ("2001:db8:0::1", "2001:db8::1"), ("198.51.100.7:", None), ("198.51.100", None), ("198.51.100.007", None), ("fe80::1%eth0", None), ("[fe80::1%1]", None),
        ("name", None), ("", None), ("unknown", None), ("_hidden", None), ("1.2.3.4:123456", None),
    ],
)  # fmt: skip
def test_address_may_have_a_port_or_brackets(text: str, address: str | None) -> None:
    assert read_address(text) == address


@pytest.mark.parametrize(
    ("forwarded", "address"),
    [
        ([], "127.0.0.1"), ([""], "127.0.0.1"), ([" , ,"], "127.0.0.1"), (["198.51.100.7"], "198.51.100.7"), (["203.0.113.1, 198.51.100.7"], "198.51.100.7"),
        (["203.0.113.1", "198.51.100.7"], "198.51.100.7"), (["198.51.100.7, 10.0.0.1, 127.0.0.2"], "198.51.100.7"), (["10.0.0.1"], "10.0.0.1"),
        (["198.51.100.7,,10.0.0.1,"], "198.51.100.7"), (["garbage"], UNKNOWN), (["198.51.100.7, garbage"], UNKNOWN), (["garbage, 198.51.100.7"], "198.51.100.7"),
        (["198.51.100.7, garbage, 10.0.0.1"], UNKNOWN),
    ],
)  # fmt: skip
def test_address_is_the_first_untrusted_from_the_right(forwarded: list[str], address: str) -> None:
    assert client_address("127.0.0.1", forwarded, [], PROXIES) == address


def test_peer_that_is_not_trusted_reports_nothing() -> None:
    assert client_address("203.0.113.9", ["198.51.100.7"], ["198.51.100.7"], PROXIES) == "203.0.113.9"


@pytest.mark.parametrize(
    ("connecting", "address"), [(["198.51.100.7"], "198.51.100.7"), (["a", "b"], UNKNOWN), (["198.51.100.7", "198.51.100.7"], UNKNOWN), (["x"], UNKNOWN)]
)  # fmt: skip
def test_connecting_ip_counts_without_forwarded_for(connecting: list[str], address: str) -> None:
    assert client_address("127.0.0.1", [], connecting, PROXIES) == address
    assert client_address("127.0.0.1", ["203.0.113.1"], connecting, PROXIES) == "203.0.113.1"


@pytest.mark.parametrize(
    ("values", "scheme"),
    [([], None), (["https"], "https"), (["WSS"], "https"), (["ws"], "http"), (["https, https"], "https"), (["https", "https"], "https"), (["https, http"], None), (["javascript"], None), ([" , "], None), (["https, x"], None)],
)  # fmt: skip
def test_scheme_counts_if_all_proxies_agree(values: list[str], scheme: str | None) -> None:
    assert forwarded_scheme(values) == scheme


def test_unknown_address_is_in_no_network() -> None:
    everywhere = (ip_network("0.0.0.0/0"), ip_network("::/0"))
    assert not in_networks(UNKNOWN, everywhere)
    assert in_networks("192.0.2.1", everywhere)


def test_mapped_address_counts_as_its_ipv4_address() -> None:
    assert in_networks("::ffff:10.1.2.3", PROXIES)
