"""The differences between two configurations, and a short hash of one. Secrets are never shown."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from proxy.config.model import Gateway
from proxy.config.plain import HIDDEN, Plain, Secret, plain_settings

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


def _shown(value: Any) -> str:
    if isinstance(value, Secret):
        return HIDDEN
    return json.dumps(value, default=str) if isinstance(value, list | tuple | bool) or value is None else str(value)


def _flatten(gateway: Gateway) -> Flat:
    flat: Flat = {}
    _mapping(plain_settings(gateway), "", flat)
    return flat


def _mapping(block: Plain, path: str, flat: Flat) -> None:
    for name, value in block.items():
        _value(value, f"{path}.{name}".lstrip("."), flat)


def _value(value: Any, path: str, flat: Flat) -> None:
    if isinstance(value, dict):
        _mapping(value, path, flat)
    elif isinstance(value, list):
        _list(value, path, flat)
    else:
        flat[path] = value


def _list(blocks: list[Plain], path: str, flat: Flat) -> None:
    """Add a list of blocks; routes are identified by path and methods, tenants by domain, others by their index."""
    seen: dict[str, int] = {}
    for number, block in enumerate(blocks):
        name = block.get("path") or block.get("domain") or str(number)
        methods = block.get("methods", ())
        label = f"{name} {','.join(methods)}" if methods and name == block.get("path") else name
        seen[label] = seen.get(label, 0) + 1
        _mapping(block, f"{path}[{label}{f'#{seen[label]}' if seen[label] > 1 else ''}]", flat)
