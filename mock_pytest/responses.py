"""Responses of a sandbox, as a test gets them: JSON data, or an error with the server's reason, without credentials."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import httpx

from mock_server.masking import IN_RESPONSES, MIN_CREDENTIAL, Masks

MAX_SHOWN = 1000
MASK = "<masked>"
_PASSWORD = re.compile(
    r"((?:passw|secret|api[-_]?key|credential)[\w-]*\\?[\"']?\s*[:=]\s*\\?[\"']?)[^\s\"',;}\]\\]+", re.I
)
_LONG = re.compile(
    r"((?:token|authorization|cookie)[\w-]*\\?[\"']?\s*[:=]\s*\\?[\"']?(?:\w+ )?)[^\s\"',;}\]\\]{16,}", re.I
)


class MockError(RuntimeError):
    """A sandbox refuses a request; the text has the request, the status and the server's reason.

    Args:
        request: the method and the path.
        status: the status of the response.
        text: the body, without tokens and passwords.
    """

    def __init__(self, request: str, status: int, text: str) -> None:
        super().__init__(f"{request}: {status} {text}".rstrip())
        self.request, self.status, self.text = request, status, text


def data_of(response: httpx.Response, credentials: Iterable[str] = ()) -> Any:
    """Return the JSON data of a response.

    Args:
        response: the response.
        credentials: those of the request, which the server may repeat in its text.

    Raises:
        MockError: the status is not one of success, or the body is not JSON.
    """
    request = f"{response.request.method} {response.request.url.path.removeprefix('/__admin')}"
    if not response.is_success:
        raise MockError(request, response.status_code, masked(response, credentials))
    try:
        return response.json()
    except ValueError:
        text = f"(not JSON) {masked(response, credentials)}"
        raise MockError(request, response.status_code, text) from None


def masked(response: httpx.Response, credentials: Iterable[str] = ()) -> str:
    """Return the beginning of the text of a response, without tokens and passwords."""
    kind = response.headers.get("content-type", "").partition(";")[0].strip()
    text = Masks(None).body(response.content, kind, IN_RESPONSES)
    for credential in sorted(credentials, key=len, reverse=True):
        if len(credential) >= MIN_CREDENTIAL:
            text = text.replace(credential, MASK)
    text = _LONG.sub(rf"\1{MASK}", _PASSWORD.sub(rf"\1{MASK}", text))
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"
