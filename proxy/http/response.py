"""The gateway's own responses as values, and how any response is framed. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, NamedTuple

from proxy.errors import GatewayError
from proxy.http.header_plan import CHUNKED
from proxy.http.json import write_json

Fields = tuple[tuple[str, str], ...]
NO_STORE = ("cache-control", "no-store")
JSON_FIELDS: Fields = (("content-type", "application/json; charset=utf-8"), NO_STORE)
SERVER = ("server", "noetl-edge")
SECURITY: Fields = (
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("content-security-policy", "frame-ancestors 'none'"),
)
HSTS: Fields = (("strict-transport-security", "max-age=31536000"),)
"""What `headers.security` adds to the gateway's own responses, and what it adds besides behind TLS."""
_NO_BODY = frozenset({204, 304})
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Response(NamedTuple):
    """A response of the gateway's own. `fields` have lower-case names; framing, `date` and `server` are added."""

    status: int
    fields: Fields
    body: bytes = b""


def json_response(document: Any, status: int = 200, fields: Sequence[tuple[str, str]] = ()) -> Response:
    """Return a JSON response that no cache stores."""
    return Response(status, (*JSON_FIELDS, *fields), write_json(document))


def json_bytes(body: bytes) -> Response:
    """Return a JSON response of a ready body, that no cache stores."""
    return Response(200, JSON_FIELDS, body)


def error_response(error: GatewayError, request_id: bytes, *, as_noetl: bool = False) -> Response:
    """Return the response to a request that ended in an error: its public text and the request's id.

    `as_noetl`: the text is also in `detail` and `message`, where clients of the NoETL API look for it.
    """
    document = {"error": error.text, "request_id": request_id.decode()}
    if as_noetl:
        document |= {"detail": error.text, "message": error.text}
    return json_response(document, error.status, error.headers)


class Framing(NamedTuple):
    """How a body is framed: its field, whether it goes out in chunks, and whether it ends with the connection."""

    line: bytes
    chunked: bool
    by_close: bool


_NONE = Framing(b"", chunked=False, by_close=False)
_CHUNKED = Framing(CHUNKED, chunked=True, by_close=False)
_BY_CLOSE = Framing(b"", chunked=False, by_close=True)


def framing(method: str, status: int, length: int | None, *, http_1_0: bool) -> Framing:
    """Return the framing of a relayed response whose upstream length is `length` (RFC 9112, 6.3)."""
    if method == "HEAD" or status in _NO_BODY or length is not None:
        return _NONE
    return _BY_CLOSE if http_1_0 else _CHUNKED


class OwnHeads:
    """Makes the heads of the gateway's own responses.

    Args:
        security: the fields that `headers.security` adds, where a response has none of the name.
        hsts: the fields that are added besides to responses over https.
    """

    __slots__ = ("_hsts", "_security", "_starts")

    def __init__(self, security: Fields, hsts: Fields) -> None:
        self._security = security
        self._hsts = hsts
        self._starts: dict[tuple[int, Fields, str], bytes] = {}

    def start(self, response: Response, scheme: str) -> bytes:
        """Return the status line and the fields that do not differ from request to request."""
        status, fields, _ = response
        key = (status, fields, scheme)
        start = self._starts.get(key)
        if start is None:
            start = self._make(response, scheme)
            if len(fields) <= 2 and len(self._starts) < 256:
                self._starts[key] = start
        return start

    def _make(self, response: Response, scheme: str) -> bytes:
        names = {name for name, _ in response.fields}
        added = [field for field in (*self._security, SERVER) if field[0] not in names]
        fields = [*response.fields, *added, *(self._hsts if scheme == "https" else ())]
        phrase = HTTPStatus(response.status).phrase
        text = "".join(f"{name}: {value}\r\n" for name, value in fields)
        return f"HTTP/1.1 {response.status} {phrase}\r\n{text}".encode("latin-1")

    def bytes(self, response: Response, method: str, scheme: str, ending: bytes) -> bytes:
        """Return the whole response; `ending` are the last fields of its head."""
        status, _, body = response
        start = self.start(response, scheme)
        if status in _NO_BODY:
            return b"%b%b\r\n" % (start, ending)
        sent = b"" if method == "HEAD" else body
        return b"%bcontent-length: %d\r\n%b\r\n%b" % (start, len(body), ending, sent)
