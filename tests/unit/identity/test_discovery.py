"""Where a key set is found: what the discovery document says, unless it is slow, redirected, wrong, huge or missing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from proxy.identity.discovery import read_discovery, same_issuer, well_known
from proxy.identity.documents import DocumentClient
from proxy.identity.jwks import KeySet, KeySetSettings, KeySetUnavailable
from tests.unit.identity.test_tokens import key_entries

ISSUER = "https://idp.test/realms/r"
DOCUMENT = f"{ISSUER}/.well-known/openid-configuration"
OTHERWISE = f"{ISSUER}/.well-known/jwks.json"
ELSEWHERE = "https://keys.test/certs"
KEYS = json.dumps({"keys": key_entries()}).encode()
Respond = Callable[[httpx.Request], Any]


def document(**changes: Any) -> httpx.Response:
    """A good discovery document with changes; None takes a member out."""
    members = {"issuer": ISSUER, "jwks_uri": ELSEWHERE, **changes}
    return httpx.Response(200, json={name: value for name, value in members.items() if value is not None})


async def never(_: httpx.Request) -> httpx.Response:
    await asyncio.sleep(30)
    raise AssertionError("it was waited for")


@dataclass
class Provider:
    """An identity provider: what it answers by URL, what was requested, and the time in seconds."""

    answers: dict[str, Respond]
    asked: list[str] = field(default_factory=list)
    now: float = 0.0

    async def answer(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(str(request.url))
        respond = self.answers.get(str(request.url))
        found = httpx.Response(404) if respond is None else respond(request)
        response: httpx.Response = await found if asyncio.iscoroutine(found) else found
        return response

    def keys(self, issuer: str = ISSUER, url: str | None = None) -> KeySet:
        client = httpx.AsyncClient(transport=httpx.MockTransport(self.answer))
        return KeySet(
            url, KeySetSettings(600, 30, 0.05, 3600, 32), DocumentClient(client), clock=lambda: self.now, issuer=issuer
        )


def provider(discovery: Respond | None, *at: str) -> Provider:
    """A provider with this discovery document, and the key set at these URLs."""
    answers: dict[str, Respond] = {url: lambda _: httpx.Response(200, content=KEYS) for url in at}
    return Provider(answers if discovery is None else {**answers, DOCUMENT: discovery})


BAD: dict[str, tuple[Respond | None, str]] = {
    "absent": (None, "status 404"),
    "slow": (never, "no response within"),
    "redirecting": (lambda _: httpx.Response(302, headers={"location": "https://evil.test/"}), "status 302"),
    "lying about the issuer": (lambda _: document(issuer="https://evil.test/"), "it is about issuer"),
    "without an issuer": (lambda _: document(issuer=None), "it is about issuer"),
    "huge": (lambda _: httpx.Response(200, content=b" " * 300_000), "larger than"),
    "not JSON": (lambda _: httpx.Response(200, content=b"<html>"), "JSONDecodeError"),
    "nested": (lambda _: httpx.Response(200, content=b"[" * 200_000), "RecursionError"),
    "a list": (lambda _: httpx.Response(200, content=b"[]"), "not a discovery document"),
    "without a jwks_uri": (lambda _: document(jwks_uri=None), "its jwks_uri is"),
    "jwks_uri of plain http": (lambda _: document(jwks_uri="http://idp.test/keys"), "not an https URL"),
    "jwks_uri of this machine": (lambda _: document(jwks_uri="http://localhost:1/keys"), "not an https URL"),
    "jwks_uri a file": (lambda _: document(jwks_uri="file:///etc/passwd"), "not an https URL"),
    "jwks_uri with a user": (lambda _: document(jwks_uri="https://idp.test@evil.test/"), "not an https URL"),
    "jwks_uri a list": (lambda _: document(jwks_uri=[ELSEWHERE]), "not an https URL"),
}


async def test_key_set_is_where_the_discovery_document_says() -> None:
    idp = provider(lambda _: document(), ELSEWHERE)
    assert await idp.keys().find("free") is not None
    assert idp.asked == [DOCUMENT, ELSEWHERE]


@pytest.mark.parametrize(("discovery", "_"), BAD.values(), ids=BAD)
async def test_without_a_usable_document_the_key_set_is_below_the_issuer(discovery: Respond | None, _: str) -> None:
    idp = provider(discovery, OTHERWISE, "https://evil.test/")
    assert await idp.keys().find("free") is not None
    assert idp.asked == [DOCUMENT, OTHERWISE]


@pytest.mark.parametrize(("discovery", "why"), BAD.values(), ids=BAD)
async def test_without_any_key_set_the_error_says_what_is_wrong_with_discovery(
    discovery: Respond | None, why: str
) -> None:
    idp = provider(discovery)
    with pytest.raises(KeySetUnavailable, match=why) as raised:
        await idp.keys().find("free")
    assert "jwks.json: ValueError: status 404" in str(raised.value)


@pytest.mark.parametrize("discovery", [BAD["absent"][0], BAD["slow"][0], lambda _: document()])
async def test_failures_cause_one_round_of_fetches_per_cooldown(discovery: Respond | None) -> None:
    idp = provider(discovery)
    keys = idp.keys()
    for now in (0.0, 1.0, 29.0):
        idp.now = now
        with pytest.raises(KeySetUnavailable):
            await keys.find("free")
    assert idp.asked == [DOCUMENT, ELSEWHERE if discovery and discovery is not never else OTHERWISE]
    idp.now = 31.0
    with pytest.raises(KeySetUnavailable):
        await keys.find("free")
    assert len(idp.asked) == 4


async def test_place_is_cached_for_the_lifetime_and_kept_while_discovery_fails() -> None:
    idp = provider(lambda _: document(), ELSEWHERE)
    keys = idp.keys()
    await keys.find("free")
    idp.now = 100.0
    await keys.find("unknown")
    assert idp.asked == [DOCUMENT, ELSEWHERE, ELSEWHERE]
    idp.answers[DOCUMENT] = never
    idp.now = 800.0
    assert await keys.find("free") is not None
    assert idp.asked[3:] == [DOCUMENT, ELSEWHERE]


async def test_configured_url_needs_no_discovery() -> None:
    idp = provider(lambda _: document(), "https://own.test/set")
    assert await idp.keys(url="https://own.test/set").find("free") is not None
    assert idp.asked == ["https://own.test/set"]


@pytest.mark.parametrize("issuer", ["https://tenant.test", "https://tenant.test/"])
async def test_issuer_without_a_slash_asks_no_other_host(issuer: str) -> None:
    idp = provider(None)
    with pytest.raises(KeySetUnavailable):
        await idp.keys(issuer).find("free")
    assert {httpx.URL(url).host for url in idp.asked} == {"tenant.test"}


@pytest.mark.parametrize(
    ("issuer", "uri", "accepted"),
    [
        ("http://localhost:8085/", "http://localhost:8085/.well-known/jwks.json", True),
        ("http://localhost:8085/", "http://127.0.0.1:8085/keys", True),
        ("http://localhost:8085/", "http://evil.test/keys", False),
        ("http://localhost:8085/", "https://keys.test/", True),
        ("https://idp.test/", "http://localhost:8085/keys", False),
        ("https://idp.test/", "https://keys.test:99999/", False),
        ("https://idp.test/", "https://keys.test/#part", False),
        ("https://idp.test/", "https:///keys", False),
        ("https://idp.test/", "https://keys.test/\r\nx", False),
    ],
)
def test_plain_http_is_for_sandboxes_on_this_machine(issuer: str, uri: str, accepted: bool) -> None:
    data = json.dumps({"issuer": issuer, "jwks_uri": uri}).encode()
    if accepted:
        assert read_discovery(data, issuer) == uri
    else:
        with pytest.raises(ValueError, match="jwks_uri"):
            read_discovery(data, issuer)


@pytest.mark.parametrize(
    ("other", "same"),
    [("https://a.test", True), ("https://a.test/", True), ("https://a.test//", False), ("https://A.test", False)],
)
def test_issuers_are_the_same_but_for_one_slash(other: str, same: bool) -> None:
    assert same_issuer("https://a.test/", other) is same


def test_document_is_below_the_path_of_the_issuer() -> None:
    assert (
        well_known("https://a.test/x/", "y") == well_known("https://a.test/x", "y") == "https://a.test/x/.well-known/y"
    )
