"""Every secret that the end-to-end run uses or is given, and what comes out of the gateway, searched for all of them.

It listens to all that the run's own HTTP clients send and receive: passwords, codes, verifiers and tokens are taken
from there, the answers of the gateway that tell of an error are kept. Logs, audit log, metrics and the session folder
are added at the end.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest

from tests.secretsearch import SHORTEST, Search

SECRET = frozenset(
    {
        "password", "auth0_token", "id_token", "access_token", "refresh_token", "session_token", "code",
        "code_verifier", "client_secret", "nonce", "state", "ticket",
    }
)  # fmt: skip
"""The names that secrets have in forms, queries, fragments and JSON. `code` in JSON is an error's."""


class Leaks:
    """The search of one run."""

    def __init__(self, gateway_url: str) -> None:
        self.search = Search()
        self._gateway = gateway_url

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Hear all that httpx sends and receives in this process."""
        send = httpx.HTTPTransport.handle_request

        def heard(transport: httpx.HTTPTransport, request: httpx.Request) -> httpx.Response:
            request.read()
            self.heard_request(request)
            response = send(transport, request)
            if response.headers.get("content-type") == "text/event-stream":
                return response  # it has no end; its ticket was heard in the request
            response.read()
            self.heard_response(str(request.url), response)
            return response

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(httpx.HTTPTransport, "handle_request", heard)
            yield

    def heard_request(self, request: httpx.Request) -> None:
        """Take the secrets out of a request."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        self._used(token or scheme, "the authorization of a request")
        self._used(request.headers.get("x-session-token", ""), "x-session-token")
        self._cookies(request.headers.get_list("cookie"))
        self._texts(request.url.query.decode())
        self._body(request.headers.get("content-type", ""), request.content)

    def heard_response(self, url: str, response: httpx.Response) -> None:
        """Take the secrets out of a response; one of the gateway that tells of an error is searched."""
        self._cookies(response.headers.get_list("set-cookie"))
        location = urlsplit(response.headers.get("location", ""))
        self._texts(location.query)
        self._texts(location.fragment)
        self._body(response.headers.get("content-type", ""), response.content)
        failed = response.status_code >= 400 or b'"errors"' in response.content
        if url.startswith(self._gateway) and failed:
            head = "".join(f"{name}: {value}\r\n" for name, value in response.headers.multi_items())
            self.search.came_out(f"the answer {response.status_code}", head.encode() + response.content)

    def _body(self, kind: str, content: bytes) -> None:
        if kind.startswith("application/x-www-form-urlencoded"):
            self._texts(content.decode())
        elif "json" in kind:
            try:
                self._document(json.loads(content))
            except ValueError:
                return

    def _document(self, document: Any) -> None:
        if isinstance(document, list):
            for value in document:
                self._document(value)
        elif isinstance(document, dict):
            for name, value in document.items():
                if name in SECRET - {"code"} and isinstance(value, str):
                    self._used(value, name)
                self._document(value)

    def _texts(self, text: str) -> None:
        for name, value in parse_qsl(text):
            if name in SECRET:
                self._used(value, name)

    def _cookies(self, lines: list[str]) -> None:
        for line in lines:
            for name, morsel in SimpleCookie(line).items():
                self._used(morsel.value, f"cookie {name}")

    def _used(self, value: str, name: str) -> None:
        if len(value) >= SHORTEST:
            self.search.used(value, name)

    def came_out(self, where: str, text: str | bytes) -> None:
        """Something else that came out of the gateway."""
        self.search.came_out(where, text)

    def files(self, *places: Path) -> None:
        """Search files, and those of folders."""
        for place in places:
            for file in sorted(place.rglob("*")) if place.is_dir() else [place]:
                if file.is_file():
                    self.search.came_out(file.name, file.read_bytes())

    def check(self) -> str:
        """What was searched; raises AssertionError if a secret was found, or if nothing was there to be found."""
        search = self.search
        told = f"secrets: {len(search.names)} searched in {search.size} bytes"
        assert len(search.names) >= 10, f"{told}: too few to be all of a run"
        found = search.found()
        assert not found, f"{told}, {len(found)} found: {'; '.join(found)}"
        return f"{told}, 0 found"
