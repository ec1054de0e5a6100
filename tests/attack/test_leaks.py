"""The search of the attack tests' output for secrets, which `conftest.py` does, finds what a gateway lets out."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from proxy.errors import GatewayError
from proxy.exchange import RequestContext
from tests.attack.battle import battle
from tests.secretsearch import RUN

ASKED = (
    b"GET /noetl/x?session_token=TOKEN HTTP/1.1\r\nhost: gateway.test\r\n"
    b"authorization: Bearer TOKEN\r\nconnection: close\r\n\r\n"
)


async def found(folder: Path, data: bytes, *, warm: bool = False) -> list[str]:
    """What the search finds of the attacker's session when these bytes were sent; then it is forgotten."""
    try:
        async with battle(folder) as field:
            if warm:
                await field.warm()
            await field.send(data.replace(b"TOKEN", field.attacker.encode()), victim=False)
        return RUN.found()
    finally:
        RUN.forget_places()


@pytest.mark.parametrize("warm", [False, True], ids=["streaming path", "fast path"])
async def test_a_token_in_a_secret_parameter_is_in_no_line(tmp_path: Path, warm: bool) -> None:
    assert await found(tmp_path, ASKED, warm=warm) == []


@pytest.mark.parametrize("warm", [False, True], ids=["streaming path", "fast path"])
async def test_a_token_in_the_log_is_found(tmp_path: Path, warm: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.server.dispatcher.redact_query", lambda query: query)
    assert await found(tmp_path, ASKED, warm=warm) == [
        "session of attacker@staff.test, plain: in a line of the access log"
    ]


async def test_a_token_in_base64_in_an_errors_answer_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def unlucky(_: object, context: RequestContext) -> None:
        (secret,) = context.head.fields.raw_values(b"authorization")
        error = GatewayError()
        error.text = f"seen: {base64.b64encode(secret).decode()}"
        raise error

    monkeypatch.setattr("proxy.relay.handler.RelayHandler.handle", unlucky)
    assert await found(tmp_path, ASKED) == ["session of attacker@staff.test, Base64: in an error's answer"]


def test_what_a_test_prints_is_searched(request: pytest.FixtureRequest) -> None:
    """The fixture is there, and listens while a test runs."""
    assert "_no_secret_came_out" in request.fixturenames
    assert RUN.listening
