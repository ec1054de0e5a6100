"""Requests and responses as values, between the connection and the program that answers."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qsl

from .delivery import Step

MAX_PARAMETERS = 1_000

Field = tuple[bytes, bytes]
FaultSteps = Callable[[Callable[..., bytes], bytes], Iterator[Step]]


@dataclass(frozen=True, eq=False)
class Request:
    """A received request.

    Args:
        method: the method.
        target: the request target as it was sent, decoded as Latin-1.
        fields: the header fields in their order, as bytes.
        body: the whole body; empty if the program reads it from `stream`.
        peer: the address of the client.
        scheme: `http` or `https`.
        version: the HTTP version, such as `1.1`.
        stream: the parts of the body, for requests that a program wants to read as they come.
        overrides: the settings that a rule of the control plane has for this request, such as the lifetime of a token.
    """

    method: str
    target: str
    fields: tuple[Field, ...] = ()
    body: bytes = b""
    peer: str = ""
    scheme: str = "http"
    version: str = "1.1"
    stream: AsyncIterator[bytes] | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def path(self) -> str:
        """The path of the target without decoding, also of a target in absolute form (RFC 9112, 3.2.2)."""
        target = self.target.partition("?")[0]
        if target.startswith("/") or "://" not in target:
            return target
        return "/" + target.partition("://")[2].partition("/")[2]

    @cached_property
    def query_string(self) -> str:
        """The query of the target without decoding."""
        return self.target.partition("?")[2]

    @cached_property
    def query_pairs(self) -> tuple[tuple[str, str], ...]:
        """The parameters of the query in their order; empty if there are more than `MAX_PARAMETERS`."""
        try:
            return tuple(parse_qsl(self.query_string, keep_blank_values=True, max_num_fields=MAX_PARAMETERS))
        except ValueError:
            return ()

    @cached_property
    def query(self) -> Mapping[str, str]:
        """The first value of each parameter of the query."""
        return dict(reversed(self.query_pairs))

    @cached_property
    def headers(self) -> Mapping[str, str]:
        """The header fields by name in lower case; values of one name are joined by a comma (RFC 9110, 5.3)."""
        found: dict[str, str] = {}
        for name, value in self.fields:
            key, text = name.decode("latin-1").lower(), value.decode("latin-1")
            found[key] = f"{found[key]}, {text}" if key in found else text
        return found

    @property
    def host(self) -> str:
        """The Host header."""
        return self.headers.get("host", "")

    @property
    def content_type(self) -> str:
        """The media type of the body in lower case, without parameters."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @cached_property
    def cookies(self) -> Mapping[str, str]:
        """The cookies by name; empty if the header is malformed."""
        try:
            parsed = SimpleCookie("; ".join(v.decode("latin-1") for n, v in self.fields if n.lower() == b"cookie"))
        except CookieError:
            return {}
        return {name: morsel.value for name, morsel in parsed.items()}

    def json(self) -> Any:
        """Return the body, parsed as JSON. Raises ValueError."""
        try:
            return json.loads(self.body)
        except RecursionError:
            raise ValueError("nested too deeply") from None


@dataclass(frozen=True, slots=True)
class Response:
    """A response.

    Args:
        status: the status code.
        body: the body.
        content_type: the media type; None: no such header.
        headers: further header fields, as text, in their order.
        stream: the parts of a body that is not known yet, in place of `body`.
        length: the number of bytes of `stream`, if it is known; None: it is sent in chunks.
        reason: the reason phrase; empty: the usual one.
        fault: returns the steps in which the response is sent, if it has a fault.
    """

    status: int = 200
    body: bytes = b""
    content_type: str | None = "application/json"
    headers: tuple[tuple[str, str], ...] = ()
    stream: AsyncIterator[bytes] | None = None
    length: int | None = None
    reason: str = ""
    fault: FaultSteps | None = None


Handler = Callable[[Request], Response | Awaitable[Response]]


_compact = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode
_escaped = json.JSONEncoder(separators=(",", ":")).encode


def to_json(value: Any) -> bytes:
    """Return a value as compact UTF-8 JSON; lone surrogates, which UTF-8 can't encode, are escaped."""
    try:
        return _compact(value).encode()
    except UnicodeEncodeError:
        return _escaped(value).encode()


def json_response(value: Any, status: int = 200, headers: tuple[tuple[str, str], ...] = ()) -> Response:
    """Return a response with a JSON body."""
    return Response(status, to_json(value), "application/json", headers)
