"""What axum does for the Rust server: its extractors, their errors, and its responses."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import parse_qsl, unquote_to_bytes

from mock_noetl.rust.reader import DataError, Shape, SyntaxFailed
from mock_noetl.rust.serde import parsed
from mock_server.messages import Request, Response, to_json

_TEXT = "text/plain; charset=utf-8"
_VARY = ("vary", "origin, access-control-request-method, access-control-request-headers")
CORS = (_VARY, ("access-control-allow-origin", "*"))
_PREFLIGHT = (("access-control-allow-methods", "*"), ("access-control-allow-headers", "*"))
_INTEGER = re.compile(r"[+-]?[0-9]+")
I32 = (-(2**31), 2**31 - 1)
I64 = (-(2**63), 2**63 - 1)


class Refused(Exception):
    """An error of the server's own code: JSON with the text and the status. `kind` is its name in batches."""

    def __init__(self, status: int, text: str, kind: str = "") -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.kind = kind

    def __str__(self) -> str:
        return f"{self.kind}: {self.text}" if self.kind else self.text


class Rejected(Exception):
    """An error of an extractor: plain text."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


def not_found(text: str) -> Refused:
    """Return the error for something that is not there."""
    return Refused(404, text, "Resource not found")


def invalid(text: str) -> Refused:
    """Return the error for something that is invalid."""
    return Refused(422, text, "Validation error")


def database(text: str) -> Refused:
    """Return the error for something that the database refuses."""
    return Refused(500, f"Database error: error returned from database: {text}")


def stored(*texts: str | None) -> None:
    """Raise Refused for a text that PostgreSQL can't hold."""
    if any(text is not None and "\0" in text for text in texts):
        raise database('invalid byte sequence for encoding "UTF8": 0x00')


def stored_json(value: Any) -> None:
    """Raise Refused for JSON data that PostgreSQL can't hold."""
    if value is not None and "\\u0000" in json.dumps(value):
        raise database("unsupported Unicode escape sequence")


# Extractors


def body(request: Request, shape: Shape) -> Any:
    """Return the JSON of a body. Raises Rejected."""
    kind = request.content_type
    if kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
        raise Rejected(415, "Expected request with `Content-Type: application/json`")
    try:
        return parsed(request.body, shape)
    except SyntaxFailed as error:
        raise Rejected(400, f"Failed to parse the request body as JSON: {error}") from None
    except DataError as error:
        raise Rejected(422, f"Failed to deserialize the JSON body into the target type: {error}") from None


def path_text(name: str, segment: str) -> str:
    """Return a segment of the path as text. Raises Rejected."""
    if "%" not in segment:
        return segment
    try:
        return unquote_to_bytes(segment).decode()
    except UnicodeDecodeError:
        raise Rejected(400, f"Invalid URL: Invalid UTF-8 in `{name}`") from None


def path_id(name: str, segment: str, index: int | None = None) -> int:
    """Return a segment of the path as an integer; `index` is its place, if there are several. Raises Rejected."""
    text = path_text(name, segment)
    if _INTEGER.fullmatch(text) and text.isascii() and I64[0] <= int(text) <= I64[1]:
        return int(text)
    what = f"`{text}`" if index is None else f"value at index {index} with value `{text}`"
    raise Rejected(400, f"Invalid URL: Cannot parse {what} to a `i64`")


class Query:
    """The parameters of a query. Raises Rejected for one that is there twice, or is not what it should be."""

    def __init__(self, request: Request, names: tuple[str, ...]) -> None:
        self._values: dict[str, str] = {}
        for name, value in parse_qsl(request.query_string, keep_blank_values=True):
            if name not in names:
                continue
            if name in self._values:
                raise Rejected(400, f"Failed to deserialize query string: duplicate field `{name}`")
            self._values[name] = value

    def text(self, name: str) -> str | None:
        """Return a text."""
        return self._values.get(name)

    def integer(self, name: str, bounds: tuple[int, int] = I64) -> int | None:
        """Return an integer."""
        text = self._values.get(name)
        if text is None:
            return None
        if not text:
            raise self._wrong(name, "cannot parse integer from empty string")
        if not _INTEGER.fullmatch(text):
            raise self._wrong(name, "invalid digit found in string")
        number = int(text) if len(text) < 400 else bounds[1] + 1
        if number > bounds[1]:
            raise self._wrong(name, "number too large to fit in target type")
        if number < bounds[0]:
            raise self._wrong(name, "number too small to fit in target type")
        return number

    def boolean(self, name: str) -> bool:
        """Return a boolean; False if it is not there."""
        text = self._values.get(name, "false")
        if text not in ("true", "false"):
            raise self._wrong(name, "provided string was not `true` or `false`")
        return text == "true"

    def needed(self, *names: str) -> None:
        """Raise Rejected for a parameter that is not there."""
        for name in names:
            if name not in self._values:
                raise Rejected(400, f"Failed to deserialize query string: missing field `{name}`")

    def _wrong(self, name: str, text: str) -> Rejected:
        return Rejected(400, f"Failed to deserialize query string: {name}: {text}")


# Responses


def answer(value: Any, status: int = 200) -> Response:
    """Return a response with JSON."""
    return Response(status, to_json(value), "application/json", CORS)


def text(content: str, status: int) -> Response:
    """Return a response with plain text."""
    return Response(status, content.encode("utf-8", "replace"), _TEXT, CORS)


def empty(status: int, allow: str | None = None) -> Response:
    """Return a response without a body."""
    return Response(status, b"", None, CORS if allow is None else (*CORS, ("allow", allow)))


def of_error(error: Refused | Rejected) -> Response:
    """Return the response for an error."""
    if isinstance(error, Rejected):
        return text(error.text, error.status)
    return answer({"error": error.text, "status": error.status}, error.status)


def preflight(allow: str | None) -> Response:
    """Return the response to OPTIONS, which every path has."""
    more = () if allow is None else (("allow", allow),)
    return Response(200, b"", None, (*CORS, *_PREFLIGHT, *more))
