"""Urls of a Redis."""

from __future__ import annotations

import pytest

from proxy.sessions.redis.address import Address, BadUrl, Kind, read_address

SENTINELS = (("a", 26379), ("b", 26380))


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("redis://localhost", Address(Kind.SINGLE, (("localhost", 6379),), False, None, None, 0, "")),
        ("redis://localhost:6380/3", Address(Kind.SINGLE, (("localhost", 6380),), False, None, None, 3, "")),
        ("redis://[::1]:6380/", Address(Kind.SINGLE, (("::1", 6380),), False, None, None, 0, "")),
        ("rediss://:p%40ss@h/1", Address(Kind.SINGLE, (("h", 6379),), True, None, "p@ss", 1, "")),
        ("redis://edge:a:b@h", Address(Kind.SINGLE, (("h", 6379),), False, "edge", "a:b", 0, "")),
        ("redis+sentinel://a,b:26380/main", Address(Kind.SENTINEL, SENTINELS, False, None, None, 0, "main")),
        ("rediss+sentinel://u:p@a,b:26380/main/2", Address(Kind.SENTINEL, SENTINELS, True, "u", "p", 2, "main")),
        ("redis+cluster://a:1,b:2", Address(Kind.CLUSTER, (("a", 1), ("b", 2)), False, None, None, 0, "")),
    ],
)
def test_a_url_names_servers_user_and_database(url: str, wanted: Address) -> None:
    assert read_address(url) == wanted


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("", "has the scheme ''"),
        ("http://h", "has the scheme 'http'"),
        ("redis+unix:///tmp/s", "has the scheme 'redis+unix'"),
        ("redis://", "malformed host"),
        ("redis://h:0", "malformed host"),
        ("redis://h:99999", "malformed host"),
        ("redis://h:x", "malformed host"),
        ("redis://a,b", "names several hosts"),
        ("redis://h/x", "not the number of a database"),
        ("redis://h/1/2", "not the number of a database"),
        ("redis://h/²", "not the number of a database"),
        ("redis://h?db=1", "has a query"),
        ("redis+sentinel://a,b", "names no master"),
        ("redis+cluster://a/1", "a cluster has only one"),
        ("redis://[h", "is not a url"),
    ],
)
def test_a_url_that_can_not_be_used_says_why(url: str, why: str) -> None:
    with pytest.raises(BadUrl, match=why.replace("+", r"\+")):
        read_address(url)


@pytest.mark.parametrize(
    "url", ["redis://u:geheim@h:x", "redis://u:geheim@h/x", "gredis://u:geheim@h", "redis://u:geheim@[h"]
)
def test_the_password_is_in_no_text(url: str) -> None:
    with pytest.raises(BadUrl) as error:
        read_address(url)
    assert "geheim" not in str(error.value)
    assert "geheim" not in str(read_address("redis://u:geheim@h"))
