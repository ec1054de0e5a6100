"""One request and its right answer, and how it is verified before anything is measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import httpx

from bench.programs import WrongAnswer

_TIMES = 3


@dataclass(frozen=True, slots=True)
class Ask:
    """One request and its right answer; a `guarded` one must be 401 without its session.

    `unlike`: it is sent with another id each time, so that no two have the same bytes.
    """

    path: str
    expected: Any
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""
    guarded: bool = False
    unlike: bool = False

    def verify(self, base_url: str) -> int:
        """Ask on a connection that stays open; the size of the last answer with its head, in bytes.

        Raises WrongAnswer. The first answer on a connection may take another way than those that follow.
        """
        where = f"{self.method} {self.path}"
        try:
            with httpx.Client(timeout=5, trust_env=False, headers={"accept-encoding": "identity"}) as client:
                for _ in range(_TIMES):
                    answer = self._send(client, base_url, self.headers)
                    self._check(answer, where)
                if self.guarded:
                    bare = {name: value for name, value in self.headers.items() if name != "authorization"}
                    refused = self._send(client, base_url, bare)
                    if refused.status_code != 401:
                        raise WrongAnswer(f"{where}: without a session 401 was expected, not {refused.status_code}")
        except httpx.HTTPError as error:
            raise WrongAnswer(f"{where}: {type(error).__name__}: {error}") from None
        return _size(answer)

    def _send(self, client: httpx.Client, base_url: str, headers: Mapping[str, str]) -> httpx.Response:
        return client.request(self.method, base_url + self.path, headers=dict(headers), content=self.body)

    def _check(self, answer: httpx.Response, where: str) -> None:
        try:
            got = answer.json()
        except ValueError:
            got = None
        if answer.status_code != 200 or self.expected != got:
            raise WrongAnswer(f"{where}: wrong answer {answer.status_code}: {answer.text[:300]}")


def _size(answer: httpx.Response) -> int:
    head = len(f"HTTP/1.1 {answer.status_code} {answer.reason_phrase}\r\n\r\n")
    return head + sum(len(name) + len(value) + 4 for name, value in answer.headers.raw) + len(answer.content)


def guarded(ask: Ask) -> Ask:
    """The same request to who must refuse it without a session."""
    return replace(ask, guarded=True)
