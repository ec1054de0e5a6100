"""The row `validate`: whether the content of a playbook can be read. Pure; it may take long, and runs in a thread."""

from __future__ import annotations

from typing import Any

from proxy.errors import BadRequest
from proxy.noetl.content import registered
from proxy.noetl.safe_yaml import YamlProblem, load_yaml

_MAX_MESSAGE = 300


def validated(content: Any) -> dict[str, Any]:
    """Return whether a content is a playbook, and what is wrong with it, each with its line and column from 1."""
    found = _errors(content)
    return {"valid": not found, "errors": found}


def _errors(content: Any) -> list[dict[str, Any]]:
    if not isinstance(content, str):
        return [_error("content is required: the YAML of a playbook")]
    try:
        document = load_yaml(content)
    except YamlProblem as problem:
        return [_error(problem.text, problem.line, problem.column)]
    if not isinstance(document, dict):
        return [_error("a playbook is a mapping")]
    missing = [_error(text) for text in _missing(document)]
    return missing or _refused(content)


def _refused(content: str) -> list[dict[str, Any]]:
    """Return why the gateway would refuse to register a content, if it would."""
    try:
        registered(content)
    except BadRequest as error:
        return [_error(error.text)]
    return []


def _missing(document: dict[str, Any]) -> list[str]:
    """Return what a playbook needs, and the document has not."""
    metadata, found = document.get("metadata"), []
    if not isinstance(metadata, dict):
        found.append("metadata is required: a mapping with name or path")
    elif not (metadata.get("path") or metadata.get("name")):
        found.append("metadata.name or metadata.path is required")
    workflow = document.get("workflow")
    if not isinstance(workflow, list) or not workflow:
        found.append("workflow is required: a list of steps")
    elif not all(isinstance(step, dict) and step.get("step") for step in workflow):
        found.append("each member of workflow needs the name of its step")
    return found


def _error(message: str, line: int = 1, column: int = 1) -> dict[str, Any]:
    return {"line": line, "column": column, "message": message[:_MAX_MESSAGE]}
