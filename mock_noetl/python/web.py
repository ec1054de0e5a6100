"""What FastAPI does for the Python server: bodies, parameters and the errors in them, redirects, CORS.

The same library checks the values, pydantic, so that the errors are the same.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import unquote

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from mock_server.messages import Request, Response, to_json

SERVER = "uvicorn"
_VARY = ("vary", "Origin")
_METHODS = "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT, QUERY"
_MISSING = object()
Headers = tuple[tuple[str, str], ...]

INT: TypeAdapter[Any] = TypeAdapter(int)
OPTIONAL_INT: TypeAdapter[Any] = TypeAdapter(int | None)
BOOL: TypeAdapter[Any] = TypeAdapter(bool)
PAGE: TypeAdapter[Any] = TypeAdapter(Annotated[int, Field(ge=1)])
PAGE_SIZE: TypeAdapter[Any] = TypeAdapter(Annotated[int, Field(ge=10, le=500)])
TEXT: TypeAdapter[Any] = TypeAdapter(str)
_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode
NO_NULLS = "PostgreSQL text fields cannot contain NUL (0x00) bytes"


class Refused(Exception):
    """An HTTP error with a detail, as the server's own code raises it."""

    def __init__(self, status: int, detail: Any, headers: Headers = ()) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = headers


class Unhandled(Exception):
    """An exception that the server does not handle: it is answered as text."""


class Problems:
    """The invalid parts of a request, collected in the order in which FastAPI lists them."""

    def __init__(self) -> None:
        self.found: list[dict[str, Any]] = []

    def check(self) -> None:
        """Raise Refused with all problems, if there are any."""
        if self.found:
            raise Refused(422, self.found)

    def value(self, adapter: TypeAdapter[Any], value: Any, *place: str | int) -> Any:
        """Return a checked value; None if it is invalid."""
        try:
            return adapter.validate_python(value, from_attributes=True)
        except ValidationError as error:
            self.found += listed(error, place)
            return None

    def query(self, request: Request, name: str, adapter: TypeAdapter[Any], default: Any) -> Any:
        """Return a parameter of the query; the last one, if there are several."""
        values = [value for key, value in request.query_pairs if key == name]
        return self.value(adapter, values[-1], "query", name) if values else default

    def path(self, names: Mapping[str, str], name: str) -> Any:
        """Return an integer of the path."""
        return self.value(INT, names[name], "path", name)

    def body(self, request: Request, adapter: TypeAdapter[Any], default: Any = _MISSING) -> Any:
        """Return the body; `default` if there is none, which without a default is a problem."""
        value = _parsed(request)
        if value is not _MISSING:
            return self.value(adapter, value, "body")
        if default is _MISSING:
            self.found.append({"type": "missing", "loc": ["body"], "msg": "Field required", "input": None})
            return None
        return default


def listed(error: ValidationError, place: tuple[str | int, ...] = ()) -> list[dict[str, Any]]:
    """Return the problems of a value as FastAPI shows them."""
    found = []
    for problem in error.errors(include_url=False):
        shown: dict[str, Any] = {"type": problem["type"], "loc": [*place, *problem["loc"]], "msg": problem["msg"]}
        shown["input"] = _shown(problem["input"])
        if "ctx" in problem:
            shown["ctx"] = {
                key: {} if isinstance(value, Exception) else _shown(value) for key, value in problem["ctx"].items()
            }
        found.append(shown)
    return found


def _shown(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, dict):
        return {key: _shown(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [_shown(item) for item in value]
    return value.model_dump() if isinstance(value, BaseModel) else value


def _parsed(request: Request) -> Any:
    """Return the body as JSON data, or as bytes if it is not declared as JSON. Raises Refused."""
    if not request.body:
        return _MISSING
    kind = request.content_type
    is_json = kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))
    if not is_json:
        return request.body
    try:
        return json.loads(request.body)
    except json.JSONDecodeError as error:
        problem = {"type": "json_invalid", "loc": ["body", error.pos], "msg": "JSON decode error", "input": {}}
        raise Refused(422, [{**problem, "ctx": {"error": error.msg}}]) from None
    except (ValueError, RecursionError):
        raise Refused(400, "There was an error parsing the body") from None


def stored(prefix: str, *texts: Any) -> None:
    """Raise Refused for a text that PostgreSQL can't hold."""
    if any(isinstance(text, str) and "\0" in text for text in texts):
        raise Refused(500, f"{prefix}{NO_NULLS}")


# Responses


def answer(value: Any, status: int = 200, headers: Headers = ()) -> Response:
    """Return a response with JSON. Raises Unhandled for numbers that JSON does not have."""
    try:
        body = _encode(value).encode()
    except UnicodeEncodeError:
        body = to_json(value)
    except ValueError:
        raise Unhandled(f"Out of range float values are not JSON compliant: {_bad_number(value)}") from None
    return Response(status, body, "application/json", (_VARY, *headers))


def _bad_number(value: Any) -> Any:
    """Return the first number of a value that JSON does not have."""
    if isinstance(value, float) and not math.isfinite(value):
        return value
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return next((found for found in map(_bad_number, items) if found is not None), None)


def of_unhandled(error: Unhandled) -> Response:
    """Return the response to a request during which an exception came up."""
    return Response(500, f"Detail: {error}".encode(), None)


def refused(error: Refused) -> Response:
    """Return the response for an HTTP error; one whose detail can't be JSON is not handled."""
    try:
        return answer({"detail": error.detail}, error.status, error.headers)
    except Unhandled as unhandled:
        return of_unhandled(unhandled)


def redirected(request: Request, path: str) -> Response:
    """Return the redirect to a path of this server."""
    query = f"?{request.query_string}" if request.query_string else ""
    location = f"{request.scheme}://{request.host}{path}{query}"
    return Response(307, b"", None, (_VARY, ("location", location)))


def decoded(path: str) -> str:
    """Return a path as Starlette routes it."""
    return unquote(path, errors="replace") if "%" in path else path


# Cross-origin requests: every origin is allowed, with credentials


def preflight(request: Request) -> Response | None:
    """Return the response to a preflight request; None if it is not one."""
    headers = request.headers
    if request.method != "OPTIONS" or "origin" not in headers or "access-control-request-method" not in headers:
        return None
    fields = [
        ("vary", "Origin, Access-Control-Request-Method, Access-Control-Request-Headers, "
                 "Access-Control-Request-Private-Network"),
        ("access-control-allow-methods", _METHODS),
        ("access-control-max-age", "600"),
        ("access-control-allow-credentials", "true"),
        ("access-control-allow-origin", headers["origin"]),
    ]  # fmt: skip
    wanted = headers.get("access-control-request-headers")
    if wanted is not None:
        fields.append(("access-control-allow-headers", wanted))
    allowed = headers["access-control-request-method"] in _METHODS.split(", ")
    text = b"OK" if allowed else b"Disallowed CORS method"
    return Response(200 if allowed else 400, text, "text/plain; charset=utf-8", tuple(fields))


def with_origin(request: Request, response: Response) -> Response:
    """Return a response with what a request from another origin needs."""
    origin = request.headers.get("origin")
    if origin is None or (response.content_type is None and response.status == 500):
        return response
    more = (("access-control-allow-credentials", "true"), ("access-control-allow-origin", origin))
    return Response(response.status, response.body, response.content_type, (*response.headers, *more))
