"""The tables of requests: YAML, expanded to a list of requests in the order in which they are sent.

A request is a mapping:
    send: the method and the path, such as `GET /api/health`.
    json: the body, as JSON. `raw`: the body as text; `base64`: as bytes.
    playbook: a name of `playbooks.yaml`; the body becomes a registration of it.
    headers: added to the request; null removes one that is sent by default.
    each: lists of values by name; the request is repeated for each of them, with `${name}` replaced.
    keep: names, and the member of the answer that each of them stands for in later requests.
    until: a member of the answer, and the values to wait for: the request is repeated until it has one of them.
    settled: the request is repeated until its answer no longer changes.
    states: the request is repeated without a pause until the last listed state; the answer is the list of states seen.
    hide: members whose values are replaced by their types.

`${name}` stands for a value, `${name|int}` for it as a number, and `${ns}` for a prefix of this run's own.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parent
DIALECTS = ("python", "rust")
_NAME = re.compile(r"\$\{([a-z0-9_]+)(\|int)?\}")
_KEYS = {
    *("send", "json", "raw", "base64", "playbook", "headers", "each", "keep"),
    *("until", "settled", "states", "hide", "name"),
}


@dataclass(frozen=True, slots=True)
class Until:
    """A member of an answer, and the values that are waited for."""

    member: str
    values: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Request:
    """One request of a table; texts may have `${…}` for values that are known only when it is sent."""

    number: int
    method: str
    path: str
    body: Any = None
    is_json: bool = False
    headers: Mapping[str, str | None] = field(default_factory=dict)
    keep: Mapping[str, str] = field(default_factory=dict)
    until: Until | None = None
    settled: bool = False
    states: tuple[str, ...] = ()
    hide: frozenset[str] = frozenset()

    @property
    def name(self) -> str:
        """What the request is called in reports: its number, method, path and the beginning of its body."""
        if self.body is None and not self.is_json:
            shown = ""
        else:
            text = self.body if isinstance(self.body, str) else json.dumps(self.body, ensure_ascii=False, default=str)
            shown = " " + " ".join(text.split())[:90]
        return f"{self.number} {self.method} {self.path}{shown}"

    def data(self, values: Mapping[str, str]) -> bytes | None:
        """Return the body, with the values of this run."""
        if isinstance(self.body, bytes) or (self.body is None and not self.is_json):
            return self.body
        found = filled(self.body, values)
        return (json.dumps(found, ensure_ascii=False) if self.is_json else str(found)).encode("utf-8", "surrogatepass")


def filled(value: Any, values: Mapping[str, Any]) -> Any:
    """Return a value with the known names in its texts replaced; a text that is one name becomes the value itself."""
    if isinstance(value, dict):
        return {filled(key, values): filled(item, values) for key, item in value.items()}
    if isinstance(value, list):
        return [filled(item, values) for item in value]
    if not isinstance(value, str):
        return value
    whole = _NAME.fullmatch(value)
    if whole is not None and whole[1] in values:
        return int(values[whole[1]]) if whole[2] else values[whole[1]]
    return _NAME.sub(lambda match: str(values.get(match[1], match[0])), value)


def load(dialect: str) -> list[Request]:
    """Return the requests of a dialect, in their order."""
    rows = yaml.safe_load((FOLDER / f"{dialect}.yaml").read_text("utf-8"))
    playbooks = yaml.safe_load((FOLDER / "playbooks.yaml").read_text("utf-8"))
    requests: list[Request] = []
    for row in rows:
        unknown = set(row) - _KEYS
        if unknown:
            raise ValueError(f"{dialect}.yaml: {row.get('send')}: unknown {', '.join(sorted(unknown))}")
        requests += [_request(one, place, playbooks) for place, one in enumerate(_each(row), len(requests) + 1)]
    return requests


def _each(row: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a row once for each value of `each`; several lists are walked side by side."""
    lists = row.get("each")
    rest = {key: value for key, value in row.items() if key != "each"}
    if not lists:
        yield rest
        return
    for values in zip(*lists.values(), strict=True):
        yield filled(rest, dict(zip(lists, values, strict=True)))


def _request(row: dict[str, Any], number: int, playbooks: Mapping[str, Any]) -> Request:
    method, _, path = row["send"].partition(" ")
    body, is_json = row.get("raw"), False
    if "base64" in row:
        body = base64.b64decode(row["base64"])
    elif "playbook" in row:
        content = playbooks[row["playbook"]]
        text = content if isinstance(content, str) else yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
        body, is_json = {"content": text, **row.get("json", {})}, True
    elif "json" in row:
        body, is_json = row["json"], True
    until = row.get("until")
    return Request(
        number,
        method,
        path,
        body,
        is_json,
        row.get("headers") or {},
        row.get("keep") or {},
        Until(*next((member, tuple(values)) for member, values in until.items())) if until else None,
        bool(row.get("settled")),
        tuple(row.get("states") or ()),
        frozenset(row.get("hide") or ()),
    )
