"""The JSON Schema of gateway.yaml, generated from the model."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from proxy.config.builtin import HANDLERS
from proxy.config.checks_identity import ALGORITHMS
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
    for block, keys in _EXACTLY_ONE:
        blocks[block]["allOf"] = [*blocks[block].get("allOf", ()), {"oneOf": [{"required": [key]} for key in keys]}]
    for (block, key), pattern in _PATTERNS.items():
        _restrict(blocks[block]["properties"][key], pattern)
    models: dict[str, type[BaseModel]] = {"Gateway": Gateway, **_blocks_in(Gateway)}
    for name, model in models.items():
        _bounds(model, schema if name == "Gateway" else blocks[name])
    _restrict(schema["properties"]["corsAllowedOrigins"], _ORIGIN)
    both = {"required": ["corsAllowedOrigins", "cors"]}
    schema["not"] = {**both, "properties": {"cors": {"required": ["allowed_origins"]}}}
    for option in blocks["Server"]["properties"]["workers"]["anyOf"]:
        if option.get("type") == "integer":
            option |= {"minimum": 1, "maximum": 256}
    _defaults(Gateway, schema, blocks, set())
    _tidy(schema)
    return schema


_EXACTLY_ONE = (
    ("RuleBlock", ("allow", "deny")),
    ("RuleBlock", ("playbooks", "paths")),
    ("RouteBlock", ("handler", "upstream")),
    ("AclTest", ("execute", "view", "modify", "delete", "request")),
)
"""Blocks, and the keys of which each needs exactly one."""
_GLOB = r"^[^/{\[][^{\[]*$"
_PATH = r"^/"
_NETWORK = r"^[0-9a-fA-F.:]+(/[0-9]{1,3})?$"
_ORIGIN = r"^([a-z][a-z0-9+.-]*://[^/?#\s]+|\*)$"
_BASE_URL = r"^https?://[^/?#@\s]+/?$"
_PATTERNS = {
    ("Server", "host"): r"^([^\[\]/:]+|[0-9a-fA-F:.]*:[0-9a-fA-F:.]*:[0-9a-fA-F:.]*)$",
    ("Server", "public_url"): _BASE_URL,
    ("Server", "trusted_proxies"): _NETWORK,
    ("Upstream", "urls"): _BASE_URL,
    ("Tenant", "domain"): r"^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?$",
    ("Tenant", "issuer"): r"^https?://.",
    ("Tenant", "jwks_url"): r"^https?://.",
    ("Tenant", "algorithms"): f"^({'|'.join(ALGORITHMS)})$",
    ("Cors", "allowed_origins"): _ORIGIN,
    ("RuleBlock", "playbooks"): _GLOB,
    ("RuleBlock", "paths"): r"^[/*?][^{\[]*$",
    ("RouteBlock", "path"): r"^(/(\{[A-Za-z_][A-Za-z0-9_]*\}|[^{}/*:][^{}/]*)?)*(/\{[A-Za-z_][A-Za-z0-9_]*:\*\*\})?$",
    ("RouteBlock", "rewrite"): _PATH,
    ("RouteBlock", "allow_from"): _NETWORK,
    ("RateLimitBlock", "limit"): r"^[1-9][0-9]{0,8}/(second|minute|hour|day)$",
    ("Metrics", "allow_from"): _NETWORK,
    ("Live", "internal_allow_from"): _NETWORK,
    ("Tracing", "endpoint"): _BASE_URL,
}
"""Patterns of texts, and of the texts in lists. They refuse only what `check` refuses too."""


def _restrict(node: Any, pattern: str) -> None:
    """Add a pattern to the texts of a node; a text with a reference is always accepted."""
    if isinstance(node, dict):
        if node.get("type") == "string" and "pattern" not in node:
            node["pattern"] = rf"\$\{{|{pattern}"
        for key in ("items", "anyOf"):
            _restrict(node.get(key), pattern)
    elif isinstance(node, list):
        for inner in node:
            _restrict(inner, pattern)


def _blocks_in(block: type[BaseModel]) -> dict[str, type[BaseModel]]:
    """Return all blocks below a block, by the name of their class."""
    found: dict[str, type[BaseModel]] = {}
    for info in block.model_fields.values():
        inner = block_of(info.annotation)
        if inner is not None and inner.__name__ not in found:
            found |= {inner.__name__: inner, **_blocks_in(inner)}
    return found


_LIMITS = {"ge": "minimum", "le": "maximum", "gt": "exclusiveMinimum", "lt": "exclusiveMaximum"}


def _bounds(block: type[BaseModel], node: dict[str, Any]) -> None:
    """Write the bounds of numbers, which the schema of their type does not have."""
    for name, info in block.model_fields.items():
        limits = {_LIMITS[n]: getattr(m, n) for m in info.metadata for n in _LIMITS if getattr(m, n, None) is not None}
        entry = node["properties"].get(info.alias or name, {})
        options = [option for option in entry.get("anyOf", ()) if option.get("type") in ("integer", "number")]
        for option in options:
            option |= limits


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
