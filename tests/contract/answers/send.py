"""Sends the requests of a table in order, exactly as they are written, and returns the answers."""

from __future__ import annotations

import http.client
import json
import time
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from tests.contract.answers import normal
from tests.contract.answers.table import Request, filled

WAIT_SECONDS = 40.0
PAUSE_SECONDS = 0.05
SETTLE_SECONDS = 0.4
_SECONDS = 60


@dataclass(slots=True)
class Sender:
    """A client of one server, with the values that its answers gave."""

    url: str
    values: dict[str, str] = field(default_factory=lambda: {"ns": f"answers-{uuid.uuid4().hex[:8]}"})
    _connection: http.client.HTTPConnection | None = None

    def send_all(self, requests: Iterable[Request]) -> Iterator[tuple[Request, Any]]:
        """Yield each request with its answer, without what differs from run to run."""
        for request in requests:
            yield request, self._answer(request)
        if self._connection is not None:
            self._connection.close()

    def _answer(self, request: Request) -> Any:
        if request.states:
            return self._states(request)
        deadline = time.monotonic() + WAIT_SECONDS
        found = self._once(request)
        while not self._has_come(request, found) and time.monotonic() < deadline:
            time.sleep(PAUSE_SECONDS)
            found = self._once(request)
        while request.settled and time.monotonic() < deadline:
            time.sleep(SETTLE_SECONDS)
            before, found = found, self._once(request)
            if self._normal(request, before) == self._normal(request, found):
                break
        if request.keep:
            document = json.loads(found[2])
            self.values |= {name: str(_member(document, where)) for name, where in request.keep.items()}
        return self._normal(request, found)

    def _has_come(self, request: Request, found: tuple[int, dict[str, str], bytes]) -> bool:
        if request.until is None:
            return True
        try:
            return _member(json.loads(found[2]), request.until.member) in request.until.values
        except (ValueError, KeyError, IndexError, TypeError):
            return False

    def _states(self, request: Request) -> Any:
        """Return the states that tight polling sees, each once and in no order: what the listed members were."""
        members, last = request.states[:-1], request.states[-1]
        seen: list[Any] = []
        deadline = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < deadline:
            document = json.loads(self._once(request)[2])
            state = {member: document.get(member) for member in members}
            if state not in seen:
                seen.append(state)
            if last in json.dumps(document):
                break
        return {"states": sorted(seen, key=str)}

    def _normal(self, request: Request, found: tuple[int, dict[str, str], bytes]) -> Any:
        return normal.answer(*found, self.values, request.hide)

    def _once(self, request: Request) -> tuple[int, dict[str, str], bytes]:
        """Send a request once; a connection that the server has closed is opened again."""
        for attempt in (1, 2):
            try:
                return self._send(request)
            except (http.client.HTTPException, ConnectionError):
                self._close()
                if attempt == 2:
                    raise
        raise AssertionError

    def _send(self, request: Request) -> tuple[int, dict[str, str], bytes]:
        if self._connection is None:
            place = urlsplit(self.url)
            self._connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=_SECONDS)
        connection = self._connection
        path, data = str(filled(request.path, self.values)), request.data(self.values)
        headers = {"accept": "*/*", **({"content-type": "application/json"} if request.is_json else {})}
        for name, value in request.headers.items():
            headers = {key: kept for key, kept in headers.items() if key.lower() != name.lower()}
            if value is not None:
                headers[name] = str(filled(value, self.values))
        connection.putrequest(request.method, path, skip_accept_encoding=True)
        for name, value in headers.items():
            connection.putheader(name, value)
        if data is not None or request.method in ("POST", "PUT", "PATCH"):
            connection.putheader("content-length", str(len(data or b"")))
        connection.endheaders(data)
        response = connection.getresponse()
        body = response.read()
        fields: dict[str, str] = {}
        for name, value in response.getheaders():
            fields[name.lower()] = f"{fields[name.lower()]}, {value}" if name.lower() in fields else value
        if response.will_close:
            self._close()
        return response.status, fields, body

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None


def _member(document: Any, where: str) -> Any:
    """Return the member at a dotted place."""
    for part in where.split("."):
        document = document[int(part)] if isinstance(document, list) else document[part]
    return document
