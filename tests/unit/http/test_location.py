# ruff: noqa: E501 - data in lines
"""`Location` of an upstream: its own address and paths become the gateway's."""

from __future__ import annotations

import pytest

from proxy.http.location import Locations, Mount
from proxy.http.origin import read_origin

OWN = [origin for text in ("http://up.test:8082", "https://up.test") if (origin := read_origin(text)) is not None]
LOCATIONS = Locations(OWN, [Mount("/api/", "/noetl/"), Mount("/api/v2/", "/two/"), Mount("/same/", "/same/")])


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("http://up.test:8082/api/x?y=1#z", "/noetl/x?y=1#z"), ("HTTP://UP.test:8082/api/x", "/noetl/x"), ("https://up.test:443/api/x", "/noetl/x"),
        ("//up.test:8082/api/x", "/noetl/x"), ("/api/x", "/noetl/x"), ("/api/v2/x", "/two/x"), ("/api/", "/noetl/"), ("/api?x", "/noetl/?x"), ("http://up.test:8082", "/"),
        ("http://up.test:8082?x", "/?x"), ("/same/x", "/same/x"), ("http://up.test:8082/other", "/other"), ("http://up.test:8082//evil.test/x", "/evil.test/x"),
        ("/other", "/other"), ("x", "x"), ("?x", "?x"), ("", ""), ("#x", "#x"), ("/apix", "/apix"), ("http://up.test/api/x", "http://up.test/api/x"),
        ("http://elsewhere.test/api/x", "http://elsewhere.test/api/x"), ("mailto:a@b", "mailto:a@b"), ("/api/\xe4", "/noetl/\xe4"),
        ("http://user@up.test:8082/api/x", "/noetl/x"), ("//user:pw@up.test:8082/api/x", "/noetl/x"), ("http://up.test:8082@elsewhere.test/x", "http://up.test:8082@elsewhere.test/x"),
    ],
)  # fmt: skip
def test_reference_is_translated_if_it_is_the_upstreams(given: str, expected: str) -> None:
    assert LOCATIONS.translate(given.encode("latin-1")) == expected.encode("latin-1")


def test_nothing_is_translated_without_origins() -> None:
    assert Locations().translate(b"/api/x") == b"/api/x"
