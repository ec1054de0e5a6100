"""The playbooks in contents of the Rust server's catalog, as JSON texts. Each is parsed once; safe in threads."""

from __future__ import annotations

import json
import threading
from typing import Any

from proxy.bounded import BoundedCache
from proxy.noetl.listings import parsed_content

_CACHED = 2048
_MAX_BYTES = 8 * 1024**2
_MAX_TEXT = 4 * 1024**2
_PER_VALUE = 8


class Payloads:
    """A bounded cache of playbooks as JSON texts, by their content."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._texts: BoundedCache[str, str] = BoundedCache(_CACHED, _MAX_BYTES)

    def text_of(self, content: str) -> str | None:
        """Return the JSON text of the playbook that a content is; None if it is no mapping, or too large."""
        with self._lock:
            known = self._texts[content]
        if known is None:
            known = _text_of(content)
            with self._lock:
                self._texts.put(content, known, len(content) + len(known))
        return known or None


def _text_of(content: str) -> str:
    """Return the JSON text of a content; empty if it has none."""
    document = parsed_content(content, core=True)
    if not document or not _is_small(document):
        return ""
    try:
        return json.dumps(document, ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=str)
    except (ValueError, TypeError, RecursionError):
        return ""


def _is_small(document: Any) -> bool:
    """Return whether a document is short as JSON, with each alias counted as what it stands for."""
    waiting, size = [document], 0
    while waiting and size <= _MAX_TEXT:
        value = waiting.pop()
        size += _PER_VALUE + (len(value) if isinstance(value, str) else 0)
        if isinstance(value, dict):
            size += sum(len(key) for key in value if isinstance(key, str))
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
    return not waiting and size <= _MAX_TEXT
