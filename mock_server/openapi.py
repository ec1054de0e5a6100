"""The OpenAPI document of a control plane, made from its operations."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from pydantic.json_schema import models_json_schema

from .operations import Operation

_ERROR = {
    "description": "The operation is refused.",
    "content": {"application/json": {"schema": {"type": "object", "properties": {"error": {"type": "string"}}}}},
}


def document(name: str, url: str, operations: Sequence[Operation]) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document."""
    models = list({o.body for o in operations if o.body} | {o.query for o in operations if o.query})
    models.sort(key=lambda model: model.__name__)
    _, schemas = models_json_schema(
        [(model, "validation") for model in models], ref_template="#/components/schemas/{model}"
    )
    definitions = schemas.get("$defs", {})
    paths: dict[str, Any] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation, definitions)
    return {
        "openapi": "3.1.0",
        "info": {"title": f"Control plane of {name}", "version": "1"},
        "servers": [{"url": url}],
        "paths": paths,
        "components": {"schemas": definitions},
    }


def _operation(operation: Operation, definitions: dict[str, Any]) -> dict[str, Any]:
    names = re.findall(r"\{(\w+)\}", operation.path)
    parameters = [{"name": n, "in": "path", "required": True, "schema": {"type": "string"}} for n in names]
    if operation.query is not None:
        schema = definitions[operation.query.__name__]
        parameters += [{"name": n, "in": "query", "schema": s} for n, s in schema["properties"].items()]
    found: dict[str, Any] = {
        "summary": operation.summary,
        "operationId": re.sub(r"\W+", "_", f"{operation.method.lower()}{operation.path}").strip("_"),
        "tags": [operation.group],
        "responses": {"200": {"description": "Done.", "content": {"application/json": {"schema": {}}}}, "4XX": _ERROR},
    }
    if parameters:
        found["parameters"] = parameters
    if operation.body is not None:
        reference = {"$ref": f"#/components/schemas/{operation.body.__name__}"}
        found["requestBody"] = {"content": {"application/json": {"schema": reference}}}
    return found
