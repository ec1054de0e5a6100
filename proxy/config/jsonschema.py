"""The JSON Schema of gateway.yaml, generated from the model."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from proxy.config.builtin import HANDLERS
from proxy.config.environment import block_of
from proxy.config.model import Gateway
from proxy.config.types import spell

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_VARIABLE = {"type": "string", "pattern": r"\$\{"}


def gateway_schema() -> dict[str, Any]:
    """Return the schema (draft 2020-12), with which editors complete and check the file.

    The schema accepts every file that `check` accepts. Mistakes that involve several keys are found by `check` only.
    """
    schema = Gateway.model_json_schema(by_alias=True)
    schema = {"$schema": _DIALECT, **schema, "title": "gateway.yaml"}
    blocks = schema["$defs"]
    blocks["RouteBlock"]["properties"]["handler"] |= {"anyOf": [{"enum": _handlers()}, {"type": "null"}]}
    blocks["RouteBlock"]["properties"]["host"] |= {"type": ["string", "array"]}
    for name in ("RoleBlock", "RuleBlock"):
        blocks[name]["properties"]["claims"]["additionalProperties"] = {}
    _defaults(Gateway, schema, blocks, set())
    _tidy(schema)
    return schema


def _handlers() -> list[str]:
    return [name for name, facts in HANDLERS.items() if not facts.later]


def _defaults(block: type[BaseModel], node: dict[str, Any], blocks: dict[str, Any], seen: set[str]) -> None:
    """Write defaults in the spelling of the file: `10s` instead of 10.0."""
    seen.add(block.__name__)
    for name, info in block.model_fields.items():
        entry = node["properties"][info.alias or name]
        if "default" in entry:
            entry["default"] = spell(info, entry["default"])
        inner = block_of(info.annotation)
        if inner is not None and inner.__name__ not in seen:
            _defaults(inner, blocks[inner.__name__], blocks, seen)


def _tidy(node: Any) -> None:
    """Remove internal metadata, and accept `${…}` where a fixed set of values is allowed."""
    if isinstance(node, list):
        for inner in node:
            _tidy(inner)
    elif isinstance(node, dict):
        for key in ("environment", "secret"):
            node.pop(key, None)
        for inner in list(node.values()):
            _tidy(inner)
        if "enum" in node:
            kept = {key: node.pop(key) for key in ("enum", "type") if key in node}
            node["anyOf"] = [kept, _VARIABLE]
