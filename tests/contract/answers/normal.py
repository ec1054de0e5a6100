"""Answers without what differs from run to run: ids, times, durations and addresses become placeholders of their type.

The order of events, the spelling of times (fraction and offset) and everything else is kept.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

_ID = re.compile(r"(?<![0-9.])[1-9][0-9]{16,18}(?![0-9.])")
_TIME = re.compile(
    r"20[0-9]{2}-[0-9]{2}-[0-9]{2}(?P<gap>[T ])[0-9]{2}:[0-9]{2}:[0-9]{2}(?P<fraction>\.[0-9]+)?"
    r"(?P<zone>Z|[+-][0-9]{2}(?::[0-9]{2})?)?"
)
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_HEX = re.compile(r"(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])")
_ADDRESS = re.compile(r"(?:127\.0\.0\.1|localhost):[0-9]{4,5}")
_RUN = re.compile(r"answers-[0-9a-f]{8}")
_WORKER = re.compile(r"worker-[0-9a-f]{8}")
_FILE = re.compile(r'File "[^"]*", line [0-9]+')
_VARYING = re.compile(
    r"(?:.*_ms|.*_mb|.*_percent|.*_ms_calls|.*_cpu_time|duration_seconds|duration_human|uptime_seconds|pid|num_threads"
    r"|access_count|hostname|start_time_seconds|worker_id|version_build|pool_.*|utilization|slots_available"
    r"|save_state_coalesced_count)"
)
_SETS = {"completed_steps"}
"""Lists whose order means nothing: the Python server keeps them as sets."""
_HEADERS = ("content-type", "allow", "location", "vary", "server", "retry-after", "www-authenticate")


def answer(status: int, headers: Mapping[str, str], body: bytes, known: Mapping[str, str], hide: frozenset[str]) -> Any:
    """Return an answer as JSON data. `known` are names for ids of this run, which become `<name>`."""
    names = {value: name for name, value in known.items() if _ID.fullmatch(value)}
    normal = _Normal(names, hide)
    shown = {
        name.lower(): normal.text(value)
        for name, value in headers.items()
        if name.lower() in _HEADERS or name.lower().startswith("access-control-")
    }
    text = body.decode("utf-8", "replace")
    try:
        data = normal.value(json.loads(text)) if text else ""
    except ValueError:
        data = normal.text(text)
    return {"status": status, "headers": dict(sorted(shown.items())), "body": data}


class _Normal:
    """What replaces values; `names` are the names of known ids."""

    def __init__(self, names: Mapping[str, str], hide: frozenset[str]) -> None:
        self._names = names
        self._hide = hide

    def value(self, value: Any, member: str = "") -> Any:
        """Return a value with placeholders."""
        if isinstance(value, dict):
            return {self.text(key): self.value(item, key) for key, item in value.items()}
        if member in self._hide or (_VARYING.fullmatch(member) and not isinstance(value, list)):
            return f"<{type(value).__name__}>"
        if isinstance(value, list):
            found = [self.value(item) for item in value]
            return sorted(found, key=str) if member in _SETS else found
        if isinstance(value, int) and not isinstance(value, bool) and _ID.fullmatch(str(value)):
            return f"<int {self._names.get(str(value), 'id')}>"
        return self.text(value) if isinstance(value, str) else value

    def text(self, text: str) -> str:
        """Return a text with placeholders."""
        for pattern, replacement in self._replacements():
            text = pattern.sub(replacement, text)
        return text

    def _replacements(self) -> tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], str] | str], ...]:
        return (
            (_RUN, "answers"),
            (_ADDRESS, "<address>"),
            (_UUID, "<uuid>"),
            (_WORKER, "<worker>"),
            (_TIME, _time),
            (_ID, lambda match: f"<{self._names.get(match[0], 'id')}>"),
            (_HEX, "<hex>"),
            (_FILE, "<place>"),
        )


def _time(match: re.Match[str]) -> str:
    """Return the placeholder of a time, which says how it was written; whole seconds are told from fractions."""
    return f"<time{match['gap'].strip('T')}{match['zone'] or ''}>"
