"""Ids and errors in the JSON texts of bridged responses, which all rows share. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from proxy.http.json import read_json, write_json
from proxy.http.json_members import TextIds, read_object
from proxy.noetl.answers import reason_of

_PIECE = 128 * 1024
_IDS = TextIds(
    (
        *("execution_id", "catalog_id", "event_id", "command_id", "request_id"),
        *("parent_execution_id", "parent_event_id"),
    ),
    lists=("event_ids",),
)


UNEXPECTED = (ValueError, TypeError, RecursionError)
"""What reading or writing a document of an unexpected shape raises."""


def object_in(data: bytes) -> dict[str, Any] | None:
    """Return a JSON object; None for anything else."""
    try:
        document = read_json(data)
    except UNEXPECTED:
        return None
    return document if isinstance(document, dict) else None


def json_of(value: Any) -> str:
    """Return the JSON text of a value. Raises ValueError or TypeError for one that JSON does not have."""
    return write_json(value).decode()


def with_text_ids(text: str) -> str:
    """Return a JSON text with its ids as texts. A large one is worked on in pieces: other threads get their turn."""
    if len(text) <= 2 * _PIECE:
        return _IDS.written(text)
    return "".join(map(_IDS.written, _pieces(text)))


def _pieces(text: str) -> Iterator[str]:
    """Yield a text in pieces that begin with a brace: no id is divided."""
    at = 0
    while at < len(text):
        end = text.find("{", at + _PIECE)
        end = len(text) if end < 0 else end
        yield text[at:end]
        at = end


def with_error_texts(text: str) -> str:
    """Return an error with its text under the names that clients of either server read. Raises ValueError.

    The Rust server has `error`; its clients get `detail` and `message`. The Python server has `detail`; its clients get
    `error`.
    """
    document = read_object(text)
    values = document.values
    error, detail = values.get("error"), values.get("detail")
    if isinstance(error, str) and detail is None:
        return document.edited({}, {"detail": json_of(error), "message": json_of(error)})
    if detail is not None and error is None:
        return document.edited({}, {"error": json_of(reason_of(text.encode("utf-8", "surrogatepass")))})
    return text
