"""What a request is routed by, if an upstream has several urls: an execution, a session or a header. Pure.

An execution stands in the path, in the query of a few endpoints, or, for events that workers post, in the body.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from typing import Any

import xxhash

from proxy.http.json import read_json

_EXECUTION = re.compile(r"/executions/([0-9]{1,20})(?:[/?]|$)", re.IGNORECASE)
_EVENTS = re.compile(r"/api/(?:events(?:/batch)?|event/[^?]*)/?(?:\?|$)", re.IGNORECASE)
_IN_BODY = re.compile(rb'"execution_id"\s*:\s*"?([0-9]{1,20})')
_PARSED = 64 * 1024
MAX_BODY = 1024**2
"""The largest body in which an execution is looked for, in bytes."""
MAX_ID = 2**63 - 1
MAX_SHARDS = 65_536

Key = Callable[[str, bytes, bytes, object], bytes | None]
"""The key of a request, by its target, header lines, session key and body; None if it has none."""


def hash_key(hash_on: str | None) -> Key:
    """Return a function that extracts the key of `hash_on`."""
    if hash_on == "session":
        return lambda target, lines, session, body: session or None
    if hash_on is not None and hash_on.startswith("header:"):
        wanted = hash_on.removeprefix("header:").strip().lower().encode("latin-1")
        return lambda target, lines, session, body: _field_value(lines, wanted)
    return execution_key


def posts_events(target: str) -> bool:
    """Return whether a request is a post of events, whose execution stands in the body; by its target upstream."""
    return _EVENTS.search(target) is not None


def execution_key(target: str, lines: bytes, session: bytes, body: object) -> bytes | None:
    """Return the id of the execution that a request is about."""
    found = _EXECUTION.search(target)
    if found:
        return found[1].encode()
    if isinstance(body, bytes) and body and len(body) <= MAX_BODY and posts_events(target):
        return _of_body(body)
    return None


def shard_of(execution_id: int, shards: int) -> int:
    """Return the shard of an execution in NoETL's scheme: XXH64 of the id as 8 bytes, little-endian, with seed 0."""
    return xxhash.xxh64_intdigest(struct.pack("<Q", execution_id), seed=0) % shards


def _field_value(lines: bytes, wanted: bytes) -> bytes | None:
    fields = (line.partition(b":") for line in lines.split(b"\r\n"))
    return next((value.strip() for name, _, value in fields if name.lower() == wanted), None)


def _of_body(body: bytes) -> bytes | None:
    """Return the execution of an event, or of the first of several."""
    if len(body) > _PARSED:  # parsing it would take long
        found = _IN_BODY.search(body)
        return found[1] if found else None
    try:
        document = read_json(body)
    except (ValueError, RecursionError):
        return None
    listed = document.get("events") if isinstance(document, dict) else document
    first = listed[0] if isinstance(listed, list) and listed else None
    return _id_of(document) or _id_of(first)


def _id_of(document: Any) -> bytes | None:
    found = document.get("execution_id") if isinstance(document, dict) else None
    text = str(found) if isinstance(found, str | int) and not isinstance(found, bool) else ""
    return text.encode() if text.isascii() and text.isdigit() and len(text) <= 20 else None
