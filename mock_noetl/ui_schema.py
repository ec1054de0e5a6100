"""The form of a workload, inferred from a playbook as both servers do: kinds of values, and `# ui:` comments."""

from __future__ import annotations

import re
from typing import Any

_DIRECTIVE = re.compile(r"#\s*ui:(?P<key>[A-Za-z_][A-Za-z0-9_]*)(?:\s*=\s*(?P<value>[^\n#]*))?")
_KEY = re.compile(r"^ {2,}(?P<name>[A-Za-z_][A-Za-z0-9_-]*)\s*:")


def fields_of(text: str, workload: Any) -> list[dict[str, Any]]:
    """Return the fields of a workload, in their order."""
    if not isinstance(workload, dict):
        return []
    directives = _directives(text)
    return [_field(str(name), value, directives.get(str(name), {})) for name, value in workload.items()]


def _directives(text: str) -> dict[str, dict[str, str]]:
    """Return the `# ui:` comments on the lines of the immediate members of the workload."""
    found: dict[str, dict[str, str]] = {}
    outer, inner = -1, -1
    for line in text.split("\n"):
        stripped = line.lstrip()
        indent = len(line) - len(stripped)
        if not stripped:
            continue
        if stripped.startswith("workload:"):
            outer, inner = indent, -1
            continue
        if outer < 0 or indent <= outer:
            outer = -1
            continue
        inner = indent if inner < 0 else inner
        match = _KEY.match(line)
        if indent == inner and match is not None:
            found[match["name"]] = {m["key"]: (m["value"] or "").strip() for m in _DIRECTIVE.finditer(line)}
    return found


def _field(name: str, value: Any, directives: dict[str, str]) -> dict[str, Any]:
    kind, children, options = _kind(value), None, None
    if "enum" in directives:
        kind, options = "enum", _options(directives["enum"])
    elif isinstance(value, dict):
        children = [_field(str(key), item, {}) for key, item in value.items()]
    return {
        "name": name,
        "kind": kind,
        "default": value,
        "description": _unquoted(directives.get("description", "")) or None,
        "secret": "secret" in directives,
        "credential_glob": _unquoted(directives.get("credential", "")) or None,
        "options": options,
        "children": children,
    }


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    for kind, name in ((bool, "boolean"), (int, "integer"), (float, "number"), (dict, "object"), (list, "array")):
        if isinstance(value, kind):
            return name
    return "string"


def _options(text: str) -> list[str]:
    if text.startswith("[") and text.endswith("]"):
        return [_unquoted(part.strip()) for part in text[1:-1].split(",") if part.strip()]
    return [_unquoted(text)]


def _unquoted(text: str) -> str:
    return text[1:-1] if len(text) >= 2 and text[0] == text[-1] and text[0] in "'\"" else text
