"""YAML as the Rust server reads it, what it refuses at registration, and what it refuses when a playbook is started."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any

import yaml

from mock_noetl.playbook import MAX_TEXT, bounded
from mock_noetl.rust.web import Refused, invalid
from mock_noetl.values import plain

_SOURCES = ("pubsub", "nats", "kafka", "webhook")
_ACTIVATIONS = ("continuous", "scheduled")
_VERIFY = {
    "hmac_sha256": ("header", "secret"), "bearer": ("secret",), "pubsub_oidc": ("audience", "service_account"),
}  # fmt: skip
_CASE = (
    "Step '{}': 'case' blocks are not allowed in canonical format. Use 'step.when' for enable guards and 'next[].when' "
    "for conditional routing. For pipelines, use 'tool: [- label: {{kind: ...}}]' directly on the step."
)


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc] # libyaml, if it is there
    """A safe loader with the scalars of YAML 1.2, in which a key stands once."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise yaml.YAMLError(f'duplicate entry with key "{key.value}"')
                seen.add(key.value)
        found: dict[Any, Any] = super().construct_mapping(node, deep)
        return found


_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?(0|[1-9][0-9]*)|0x[0-9a-fA-F]+|0o[0-7]+", "-+0123456789"),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+0123456789.",
    ),
    ("null", r"~|null|Null|NULL|", "~nN\0"),
):
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), ["" if c == "\0" else c for c in _first]
    )


def decoded(content: str) -> str:
    """Return a text, or what it is in base64."""
    try:
        return base64.b64decode(content, validate=True).decode()
    except (binascii.Error, ValueError):
        return content


def loaded(content: str) -> Any:
    """Return the value of a YAML text. Raises Refused."""
    if len(content) > MAX_TEXT:
        raise invalid(f"a playbook has at most {MAX_TEXT} characters")
    try:
        return plain(bounded(yaml.load(content, Loader=_Loader)))  # noqa: S506 - a subclass of a safe loader
    except yaml.MarkedYAMLError as error:
        raise invalid(f"Invalid YAML: {_explained(error)}") from None
    except yaml.reader.ReaderError as error:
        place = f" at position {error.position}" if error.position else ""
        raise invalid(f"Invalid YAML: control characters are not allowed{place}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise invalid(f"Invalid YAML: {error}") from None


def _explained(error: yaml.MarkedYAMLError) -> str:
    """Return an error in the words of serde_yaml."""
    problem, mark = str(error.problem or "malformed"), error.problem_mark
    if "another document" in problem:
        return "deserializing from YAML containing more than one document is not supported"
    if "undefined alias" in problem:
        problem = "unknown anchor"
    place = f" at line {mark.line + 1} column {mark.column + 1}" if mark is not None else ""
    context = f", {error.context}" if error.context else ""
    return f"{problem}{place}{context}"


def member(value: Any, name: str) -> Any:
    """Return a member of a mapping; None if there is none."""
    return value.get(name) if isinstance(value, dict) else None


def _text(value: Any, name: str) -> str | None:
    found = member(value, name)
    return found if isinstance(found, str) else None


def path_of(document: Any) -> str:
    """Return the path of a document. Raises Refused."""
    if not isinstance(document, dict) or "metadata" not in document:
        raise invalid("Missing 'metadata' section")
    metadata = document["metadata"]
    path = _text(metadata, "path")
    path = _text(metadata, "name") if path is None else path
    if path is None:
        raise invalid("Missing 'path' or 'name' in metadata")
    return path


# Subscriptions


def check_subscription(document: Any) -> None:
    """Check the settings of a subscription. Raises Refused."""
    if "spec" not in document:
        raise invalid("kind: Subscription requires a 'spec' block")
    spec = document["spec"]
    source = _text(spec, "source")
    if source is None:
        raise invalid("subscription spec requires 'source'")
    _one_of("source", source, _SOURCES)
    mode = _text(spec, "mode")
    if mode is None:
        raise invalid("subscription spec requires 'mode' (pull | push)")
    if mode == "push":
        _check_push(spec)
    elif mode == "pull":
        activation = _text(spec, "activation")
        if activation is not None:
            _one_of("activation", activation, _ACTIVATIONS)
    else:
        raise invalid(f"subscription 'mode' must be 'pull' or 'push', got '{mode}'")
    dispatch = member(spec, "dispatch")
    if not isinstance(spec, dict) or "dispatch" not in spec:
        raise invalid("subscription spec requires a 'dispatch' block")
    if not _text(dispatch, "playbook"):
        raise invalid("subscription 'dispatch.playbook' is required")


def _check_push(spec: Any) -> None:
    ingress = member(spec, "ingress")
    if ingress is None:
        raise invalid("subscription 'mode: push' requires an 'ingress' block (gateway_path + verify)")
    path = _text(ingress, "gateway_path")
    if not path:
        raise invalid("subscription 'ingress.gateway_path' is required for push")
    if not path.startswith("/"):
        what = "must be an absolute path starting with '/'"
        raise invalid(f"subscription 'ingress.gateway_path' {what}, got '{path}'")
    verify = member(ingress, "verify")
    if verify is None:
        raise invalid("subscription 'ingress' requires a 'verify' block (push always verifies)")
    kind = _text(verify, "type")
    if kind is None:
        raise invalid("subscription 'ingress.verify.type' is required")
    if kind not in _VERIFY:
        known = _listed(tuple(_VERIFY))
        more = "('none' is not allowed — push ingress always verifies)"
        raise invalid(f"subscription 'ingress.verify.type' must be one of {known}, got '{kind}' {more}")
    for name in _VERIFY[kind]:
        if not _text(verify, name):
            raise invalid(f"subscription 'ingress.verify.{name}' is required for verify.type '{kind}'")


def _one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise invalid(f"subscription '{name}' must be one of {_listed(known)}, got '{value}'")


def _listed(names: tuple[str, ...]) -> str:
    return "[" + ", ".join(f'"{name}"' for name in names) + "]"


# Playbooks, when they are started


def check_playbook(document: Any) -> None:
    """Check a playbook that is to be started. Raises Refused."""
    for number, step in enumerate(member(document, "workflow") or ()):
        if isinstance(step, dict) and "case" in step:
            raise invalid(_CASE.format(_text(step, "step") or f"workflow[{number}]"))
    for name in ("apiVersion", "kind", "metadata", "workflow"):
        if not isinstance(document, dict) or name not in document:
            raise Refused(400, f"missing field `{name}`", "Parse error")
    version, kind, workflow = document["apiVersion"], document["kind"], document["workflow"]
    if version != "noetl.io/v2":
        raise invalid(f"Unsupported API version: {version}. Expected noetl.io/v2")
    if kind != "Playbook":
        raise invalid(f"Invalid kind: {kind}. Expected Playbook")
    steps = [step for step in workflow if isinstance(step, dict)] if isinstance(workflow, list) else []
    names = [str(step.get("step")) for step in steps]
    if "start" not in names:
        raise invalid("Workflow must have a step named 'start'")
    for number, name in enumerate(names):
        if name in names[:number]:
            raise invalid(f"Duplicate step name: {name}")
    for step in steps:
        if step.get("tool") == []:
            raise invalid(f"Step '{step.get('step')}': tool pipeline must have at least one task")
        _check_next(step, set(names))


def _check_next(step: Mapping[str, Any], names: set[str]) -> None:
    following = step.get("next")
    is_router = isinstance(following, dict)
    arcs = following.get("arcs") or [] if isinstance(following, dict) else following
    for arc in arcs if isinstance(arcs, list) else [arcs] if arcs else []:
        name = arc.get("step") if isinstance(arc, dict) else arc
        if str(name) not in names:
            where = "next.arcs" if is_router else "next"
            raise invalid(f"Step '{step.get('step')}' references unknown step '{name}' in {where}")
