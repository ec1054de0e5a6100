"""What is told of a changed configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from proxy.config.diff import differences, fingerprint
from proxy.config.load import load
from proxy.config.model import Gateway


def gateway(**blocks: Any) -> Gateway:
    return Gateway.model_validate(blocks)


ROUTE = {"path": "/noetl/{path:**}", "upstream": "noetl"}


@pytest.mark.parametrize(
    ("old", "new", "lines"),
    [
        ({}, {}, ()),
        ({}, {"server": {"limits": {"body_timeout": "60s"}}}, ("server.limits.body_timeout: 30s -> 1m",)),
        ({"logging": {"access": False}}, {}, ("logging.access: false -> true",)),
        (
            {"routes": [ROUTE]},
            {"routes": [{**ROUTE, "timeout": "9s"}]},
            ("routes[/noetl/{path:**}].timeout: null -> 9s",),
        ),
    ],
)
def test_changed_setting_is_reported_with_its_key(
    old: dict[str, Any], new: dict[str, Any], lines: tuple[str, ...]
) -> None:
    assert differences(gateway(**old), gateway(**new)) == lines


def test_routes_are_known_by_their_path_not_by_their_place() -> None:
    first, second = {"path": "/a", "upstream": "noetl"}, {"path": "/b", "upstream": "noetl"}
    assert differences(gateway(routes=[first, second]), gateway(routes=[second, first])) == ()


def test_removed_and_new_routes_are_reported() -> None:
    told = differences(gateway(routes=[{"path": "/a", "handler": "health"}]), gateway(routes=[ROUTE]))
    assert "routes[/a].handler: health -> (removed)" in told
    assert "routes[/noetl/{path:**}].upstream: (added) -> noetl" in told


@pytest.mark.parametrize("header", ["authorization", "x-api-key", "X-Token"])
def test_changed_secret_is_reported_without_its_value(header: str) -> None:
    def with_value(value: str) -> Gateway:
        return gateway(routes=[{**ROUTE, "headers": {"request": {"set": {header: value}}}}])

    (line,) = differences(with_value("hunter2"), with_value("hunter3"))
    assert line.endswith("(a secret) -> (a secret)")
    assert "hunter" not in line


@pytest.mark.parametrize("reference", ["${file:value}", "Bearer ${file:value}", "${UPSTREAM_PASSWORD}"])
def test_value_of_a_header_from_a_secret_source_is_not_shown(tmp_path: Path, reference: str) -> None:
    def loaded(value: str) -> Gateway:
        (tmp_path / "value").write_text(value)
        file = tmp_path / "gateway.yaml"
        edit = f"{{request: {{set: {{x-upstream: '{reference}', x-plain: p-{value}}}}}}}"
        upstream = "upstreams: {noetl: {urls: ['http://a']}}"
        file.write_text(f"{upstream}\nroutes: [{{path: /a, upstream: noetl, headers: {edit}}}]\n")
        return load(file, {"UPSTREAM_PASSWORD": value}).gateway

    lines = differences(loaded("hunter2"), loaded("hunter3"))
    assert lines == (
        "routes[/a].headers.request.set.x-upstream: (a secret) -> (a secret)",
        "routes[/a].headers.request.set.x-plain: p-hunter2 -> p-hunter3",
    )


def test_many_differences_are_cut_short_with_their_number() -> None:
    many = gateway(routes=[{"path": f"/r{number}", "handler": "health"} for number in range(50)])
    told = differences(gateway(), many)
    assert len(told) == 51
    assert told[-1].startswith("and ")


def test_a_fingerprint_names_a_configuration() -> None:
    assert fingerprint(gateway()) == fingerprint(gateway())
    assert fingerprint(gateway()) != fingerprint(gateway(server={"port": 1}))
    assert len(fingerprint(gateway())) == 12
