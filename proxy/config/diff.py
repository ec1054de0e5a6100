"""The differences between two configurations, and a short hash of one. Secrets are never shown."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from proxy.config.model import Gateway, HeaderEdit
from proxy.config.types import spell
from proxy.http.secret_names import is_secret_name

_HIDDEN = "(a secret)"
_MAX_LINES = 50
Flat = dict[str, Any]


def differences(old: Gateway, new: Gateway) -> tuple[str, ...]:
    """Return one line per changed setting, such as `server.limits.body_timeout: 30s -> 10s`; at most 50 lines."""
    before, after = _flatten(old), _flatten(new)
    lines = []
    for key in dict.fromkeys((*before, *after)):
        if key not in after:
            lines.append(f"{key}: {_shown(before[key])} -> (removed)")
        elif key not in before:
            lines.append(f"{key}: (added) -> {_shown(after[key])}")
        elif before[key] != after[key]:
            lines.append(f"{key}: {_shown(before[key])} -> {_shown(after[key])}")
    if len(lines) > _MAX_LINES:
        return (*lines[:_MAX_LINES], f"and {len(lines) - _MAX_LINES} more")
    return tuple(lines)


def fingerprint(gateway: Gateway) -> str:
    """Return 12 hexadecimal digits that identify a configuration; values of secrets do not change them."""
    flat = {key: str(_shown(value)) for key, value in _flatten(gateway).items()}
    return hashlib.sha256(json.dumps(flat, sort_keys=True).encode()).hexdigest()[:12]


class _Secret:
    """A secret value, which can be compared and is never shown."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Secret) and other._value == self._value

    def __hash__(self) -> int:
        return 0


def _shown(value: Any) -> str:
    if isinstance(value, _Secret):
        return _HIDDEN
    return json.dumps(value, default=str) if isinstance(value, list | tuple | bool) or value is None else str(value)


def _flatten(gateway: Gateway) -> Flat:
    flat: Flat = {}
    _block(gateway, "", flat)
    return flat


def _block(block: BaseModel, path: str, flat: Flat) -> None:
    for name, info in type(block).model_fields.items():
        value = getattr(block, name)
        if isinstance(block, HeaderEdit) and name == "set":
            value = {key: _Secret(text) if key in block.secret_names else text for key, text in value.items()}
        _value(value, f"{path}.{info.alias or name}".lstrip("."), flat, info)


def _value(value: Any, path: str, flat: Flat, info: FieldInfo | None) -> None:
    if isinstance(value, BaseModel):
        _block(value, path, flat)
    elif isinstance(value, dict):
        for key, inner in value.items():
            _value(inner, f"{path}.{key}", flat, None)
    elif isinstance(value, tuple) and value and isinstance(value[0], BaseModel):
        _list(value, path, flat)
    else:
        shown = spell(info, value) if info is not None else value
        hidden = value is not None and not isinstance(value, _Secret) and _is_secret(path, info)
        flat[path] = _Secret(value) if hidden else shown


def _list(blocks: tuple[Any, ...], path: str, flat: Flat) -> None:
    """Add a list of blocks; routes are identified by path and methods, tenants by domain, others by their index."""
    seen: dict[str, int] = {}
    for number, block in enumerate(blocks):
        name = getattr(block, "path", None) or getattr(block, "domain", None) or str(number)
        methods = getattr(block, "methods", ())
        label = f"{name} {','.join(methods)}" if methods and name == getattr(block, "path", None) else name
        seen[label] = seen.get(label, 0) + 1
        _block(block, f"{path}[{label}{f'#{seen[label]}' if seen[label] > 1 else ''}]", flat)


def _is_secret(path: str, info: FieldInfo | None) -> bool:
    if info is not None:
        extra = info.json_schema_extra
        return isinstance(extra, dict) and extra.get("secret") is True
    return is_secret_name(path.rpartition(".")[2])
