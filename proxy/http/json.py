"""JSON: what counts as a JSON body, and how JSON is read and written. Pure."""

from __future__ import annotations

import json
from typing import Any, TypeGuard

from pydantic_core import from_json, to_json

from proxy.errors import BadRequest, UnsupportedMediaType
from proxy.http.request import RequestFields

_ENCODER = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, check_circular=False, allow_nan=False)


def json_text(data: bytes) -> str:
    """Return the text of JSON bytes, in any encoding that `json.loads` accepts (RFC 8259, 8.1). Raises ValueError."""
    if len(data) > 3 and data.isascii() and data[0] and data[1]:
        return data.decode("ascii")
    return data.decode(json.detect_encoding(data), "surrogatepass")


def read_json(data: bytes) -> Any:
    """Return the value of JSON bytes, exactly as `json.loads` does. Raises ValueError or RecursionError.

    A fast parser is tried first. Input that it rejects (depth over 200, NaN, lone surrogates, UTF-16) is parsed by
    `json.loads`.
    """
    try:
        return from_json(data, allow_inf_nan=False, cache_strings="keys")
    except ValueError:
        return json.loads(json_text(data))


def is_text(value: Any) -> TypeGuard[str]:
    """Return True for a text that UTF-8 can express: one without lone surrogates, which JSON may have as escapes."""
    return isinstance(value, str) and (value.isascii() or value == value.encode("utf-8", "ignore").decode())


def write_json(document: Any) -> bytes:
    """Return compact JSON in UTF-8. Raises ValueError or TypeError for values that JSON does not have, such as NaN."""
    try:
        data = to_json(document)
    except (ValueError, TypeError):
        return _strict(document)
    return _strict(document) if b"NaN" in data or b"Infinity" in data else data


def _strict(document: Any) -> bytes:
    return _ENCODER.encode(document).encode()


def require_json(fields: RequestFields) -> None:
    """Raise UnsupportedMediaType unless a body is declared as plain, uncompressed JSON in UTF-8."""
    if fields.derived.get(require_json) is True:
        return
    kind, _, parameters = (fields.value(b"content-type") or "").partition(";")
    charset = next(
        (value.strip().strip('"') for name, _, value in (p.partition("=") for p in parameters.split(";"))
         if name.strip().lower() == "charset"),
        "utf-8",
    ).lower().replace("_", "-")  # fmt: skip
    if kind.strip().lower() != "application/json" or charset not in ("utf-8", "utf8", "us-ascii"):
        raise UnsupportedMediaType(detail=f"content-type {kind.strip()!r}")
    if any(coding.strip().lower() != "identity" for coding in fields.values(b"content-encoding")):
        raise UnsupportedMediaType("Send the body without content-encoding")
    fields.derived[require_json] = True


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = dict(pairs)
    if len(names) != len(pairs):
        raise BadRequest("The body has the same key twice")
    return names


def _no_constant(name: str) -> Any:
    raise BadRequest(f"The body is not JSON: {name} is not a value")


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant)


def parse_json(data: bytes) -> Any:
    """Return the value of a request's JSON body.

    Raises:
        BadRequest: the body is not JSON, or two parsers could read it in two ways.
    """
    try:
        text = json_text(data)
        if text[:1] == "{":  # nearly every body: without white space around it, there is nothing more to do
            value, end = _DECODER.raw_decode(text)
            if end == len(text):
                return value
        return _DECODER.decode(text)
    except (ValueError, RecursionError):
        raise BadRequest("The body is not JSON") from None
