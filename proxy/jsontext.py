"""Parser and serializer for JSON as bytes."""

from __future__ import annotations

import json
from typing import Any

from pydantic_core import from_json, to_json

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


def write_json(document: Any) -> bytes:
    """Return compact JSON in UTF-8. Raises ValueError or TypeError for values that JSON does not have, such as NaN."""
    try:
        data = to_json(document)
    except (ValueError, TypeError):
        return _strict(document)
    return _strict(document) if b"NaN" in data or b"Infinity" in data else data


def _strict(document: Any) -> bytes:
    return _ENCODER.encode(document).encode()
