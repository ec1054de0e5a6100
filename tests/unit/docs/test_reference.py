"""The generated pages are fresh and complete."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from proxy.config.environment import fields
from proxy.config.jsonschema import gateway_schema
from proxy.errors import GatewayError, known_errors
from scripts.reference import ROOT, files


@pytest.mark.parametrize("path", files(), ids=lambda path: path.name)
def test_a_generated_page_is_as_make_docs_would_write_it(path: Path) -> None:
    assert path.read_text() == files()[path], "run make docs"


def test_every_setting_has_a_description() -> None:
    assert [key for key, info in fields() if not (info.description or "").endswith((".", ")"))] == []


def test_every_error_class_is_known_to_the_reference() -> None:
    assert set(known_errors()) == set(GatewayError.__subclasses__())


def test_the_schema_is_a_valid_json_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(gateway_schema())


def test_the_schema_accepts_the_shipped_file() -> None:
    jsonschema.validate(yaml.safe_load((ROOT / "gateway.yaml").read_text()), gateway_schema())


@pytest.mark.parametrize(
    "text",
    [
        "server: {prot: 1}",
        "server: {limits: {header_timeout: 10}}",
        "logging: {level: loud}",
        "routes: [{path: /x, handler: nothing}]",
        "acl: {rules: [{allow: [run], playbooks: [a]}]}",
    ],
)
def test_the_schema_refuses_what_check_refuses(text: str) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(yaml.safe_load(text), gateway_schema())


@pytest.mark.parametrize(
    "text",
    [
        "logging: {level: '${LEVEL}', format: json}",
        "server: {port: '${PORT:-1}', limits: {header_timeout: 1.5s, max_header_size: 8KiB}}",
        "routes: [{path: /x, host: a.example.com, handler: health}]",
        "acl: {roles: {a: {claims: {x: [1, y], z: true}}}}",
        "graphql: {introspection: {roles: [admin]}}",
    ],
)
def test_the_schema_accepts_what_check_accepts(text: str) -> None:
    jsonschema.validate(yaml.safe_load(text), gateway_schema())


def test_the_schema_spells_defaults_as_the_file_would() -> None:
    limits = json.loads(json.dumps(gateway_schema()))["$defs"]["ServerLimits"]["properties"]
    assert (limits["header_timeout"]["default"], limits["max_body_size"]["default"]) == ("10s", "10MiB")
