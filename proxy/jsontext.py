"""The text of JSON that came as bytes."""

from __future__ import annotations

import json


def json_text(data: bytes) -> str:
    """The text, as `json.loads` reads it (RFC 8259, 8.1, and what older standards allowed). Raises ValueError."""
    if len(data) > 3 and data.isascii() and data[0] and data[1]:
        return data.decode("ascii")
    return data.decode(json.detect_encoding(data), "surrogatepass")
