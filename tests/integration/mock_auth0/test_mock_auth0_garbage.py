"""Malformed values at every endpoint: an error of the client, never one of the server."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Any

import pytest

from mock_auth0.program import ROUTES
from mock_auth0.server import Server
from mock_server.messages import Request, Response

NAMES = (
    *("client_id", "redirect_uri", "response_type", "response_mode", "scope", "audience", "state", "nonce", "prompt"),
    *("code_challenge", "code_challenge_method", "max_age", "login_hint", "dpop_jkt", "login_ticket", "returnTo"),
    *("id_token_hint", "post_logout_redirect_uri", "grant_type", "code", "code_verifier", "refresh_token", "token"),
    *("username", "password", "realm", "device_code", "user_code", "client_secret", "client_assertion", "email"),
    *("client_assertion_type", "action", "connection", "name"),
)
KNOWN = {
    "client_id": "noetl-gateway",
    "redirect_uri": "http://localhost:3000/callback",
    "response_type": "code",
    "code_challenge": "a" * 43,
    "code_challenge_method": "S256",
}
GRANTS = ("authorization_code", "refresh_token", "password", "urn:ietf:params:oauth:grant-type:device_code")
GRANTED = frozenset({"code", "refresh_token", "username", "device_code"})
VALUES = ("", "\x00", "é", "%ff", "\ud800", "' OR 1=1 --", "<script>", "a.b.c", "..", "9" * 30, "x" * 3_000, "[]", "{}")
HEADERS = (
    (b"authorization", b"Bearer \xff"),
    (b"authorization", b"DPoP a..b.c.d"),
    (b"authorization", b"Bearer eyJhbGciOiJkaXIifQ..AAAA.AAAA.AAAA"),
    (b"authorization", b"Basic \xff"),
    (b"authorization", b"Basic OjpfOg=="),
    (b"cookie", b'auth0="\\377; $; a'),
    (b"dpop", b"\xff.e30.e30"),
    (b"dpop", b"eyJqd2siOnsia3R5IjoiRUMifSwidHlwIjoiZHBvcCtqd3QiLCJhbGciOiJFUzI1NiJ9.e30.e30"),
    (b"dpop", b"eyJqd2siOltdLCJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2In0.e30.e30"),
    (b"dpop", b"eyJqd2siOnsia3R5IjoiUlNBIiwibiI6NSwiZSI6W119LCJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IlJTMjU2In0.e30.e30"),
    (b"origin", b"\xff"),
    (b"host", b"["),
    (b"host", b"\xff:\xff"),
)


def encoded(name: str, value: str) -> str:
    """Return a parameter as it would be in a query; what can't be encoded stands there as it is."""
    return f"{name}={value.encode('utf-8', 'surrogatepass').decode('latin-1').replace('&', '%26')}"


def requests(path: str, method: str) -> Iterator[Request]:
    form = (b"content-type", b"application/x-www-form-urlencoded")
    kind = (b"content-type", b"application/json")
    for name, value in itertools.product(NAMES, VALUES):
        grants = (
            GRANTS if path == "/oauth/token" and name in {"code", "refresh_token", "username", "device_code"} else ("",)
        )
        for grant in grants:
            given = {**KNOWN, "grant_type": grant, "username": "user@example.com", name: value}
            query = "&".join(encoded(*pair) for pair in given.items())
            if method == "GET":
                yield Request(method, f"{path}?{query}", ((b"host", b"localhost"),))
            else:
                yield Request(method, path, ((b"host", b"localhost"), form), query.encode("latin-1"))
                yield Request(method, path, ((b"host", b"localhost"), kind), json.dumps(given).encode())
    for field in HEADERS:
        yield Request(method, path, (field, form), b"client_id=noetl-gateway&grant_type=password")
    for body in (b"", b"\xff", b"null", b"[[[", b'{"client_id": 5}', b'{"client_id": {"a": []}}'):
        yield Request(method, path, ((b"host", b"localhost"), kind), body)


CASES = [(path, method) for path, route in ROUTES.items() for method in route.methods]


@pytest.mark.parametrize(("path", "method"), CASES)
async def test_no_value_is_an_error_of_the_server(server: Server, path: str, method: str) -> None:
    count = 0
    for request in requests(path, method):
        answer: Any = server.program.respond(request)
        response: Response = answer if isinstance(answer, Response) else await answer
        assert response.status < 500, (request.target[:300], request.fields, request.body[:300])
        count += 1
    assert count > 400
