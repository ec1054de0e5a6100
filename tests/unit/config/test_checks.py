"""What one key alone does not show: keys that do nothing where they stand."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.config.compile import Compiled, compile_config
from proxy.config.load import load
from proxy.config.problems import ConfigError


def told(folder: Path, text: str) -> list[str]:
    """The problems of a file, each as `line:column: key: text`."""
    file = folder / "gateway.yaml"
    file.write_text(text)
    try:
        load(file, {})
    except ConfigError as error:
        return [str(problem).removeprefix(f"{file}:") for problem in error.problems]
    return []


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ("websocket: true", "websocket"),
        ("headers: {response: {remove: [server]}}", "headers"),
        ("timeout: 5s", "timeout"),
        ("rewrite: /b", "rewrite"),
        ("auth: none", "auth"),
    ],
)
def test_a_key_for_relays_is_refused_on_a_handlers_route(tmp_path: Path, line: str, key: str) -> None:
    text = f"routes:\n  - {{path: /a, handler: health, {line}}}\n"
    assert told(tmp_path, text) == [f"2:33: routes[0].{key}: has an effect only on routes with an upstream"]


def test_server_timing_is_for_handlers_too(tmp_path: Path) -> None:
    assert told(tmp_path, "routes: [{path: /a, handler: health, server_timing: true}]\n") == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "metrics:\n  allow_from: [10.0.9.0/24, 10.0.9.1/24]\n",
            '2:29: metrics.allow_from[1]: "10.0.9.1/24" is not a network: write 10.0.9.0/24',
        ),
        ("metrics: {allow_from: []}\n", "1:23: metrics.allow_from: needs at least one entry"),
        (
            "metrics: {allow_from: [10.0.0.0/8]}\nroutes: [{path: /metrics, handler: metrics}]\n",
            "1:11: metrics.allow_from: applies to the built-in /metrics route only; set allow_from on your own route",
        ),
    ],
)
def test_networks_for_the_metrics_are_checked(tmp_path: Path, text: str, problem: str) -> None:
    assert told(tmp_path, text) == [problem]


def networks_of_metrics(compiled: Compiled) -> list[str]:
    """Who may use the routes of the metrics."""
    routes = [e.route for e in compiled.routes.entries if e.route.block.handler == "metrics"]
    return [str(network) for route in routes for network in route.allow_from]


@pytest.mark.parametrize(
    ("text", "networks"),
    [
        ("server: {}\n", ["127.0.0.0/8", "::1/128"]),
        ("metrics: {allow_from: [10.0.9.0/24]}\n", ["10.0.9.0/24"]),
        ("metrics: {allow_from: [10.0.9.0/24]}\ninclude: [more.yaml]\n", ["10.0.9.0/24"]),
        ("routes: [{path: /metrics, handler: metrics}]\n", []),
        (
            "routes: [{path: /m, handler: metrics, allow_from: [10.0.0.0/8]}]\n",
            ["10.0.0.0/8", "127.0.0.0/8", "::1/128"],
        ),
    ],
    ids=["by default", "given", "given, with more routes", "own route", "own route with networks"],
)
def test_who_may_read_the_metrics(tmp_path: Path, text: str, networks: list[str]) -> None:
    (tmp_path / "more.yaml").write_text("routes: [{path: /more, handler: health}]\n")
    (tmp_path / "gateway.yaml").write_text(text)
    assert networks_of_metrics(compile_config(load(tmp_path / "gateway.yaml", {}))) == networks


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "graphql: {apq: true, trusted_documents: documents}\n",
            "1:16: graphql.apq: has no effect with trusted_documents, which are found by hash already; remove it",
        ),
        ("graphql: {apq_size: 1MiB}\n", "1:11: graphql.apq_size: has an effect only with apq: true"),
        ("graphql: {limits: {cost: 1000000}}\n", "1:26: graphql.limits.cost: must be at most 999999"),
        (
            "graphql: {trusted_documents: ''}\n",
            "1:30: graphql.trusted_documents: must not be empty: name a folder, or remove the key",
        ),
    ],
)
def test_settings_of_graphql_that_do_nothing_are_refused(tmp_path: Path, text: str, problem: str) -> None:
    (found,) = told(tmp_path, text)
    assert found == problem


def test_body_of_a_test_without_a_request_is_refused(tmp_path: Path) -> None:
    text = "acl:\n  tests:\n    - {as: {}, execute: a, body: {}, expect: deny}\n"
    assert told(tmp_path, text) == ["3:28: acl.tests[0].body: has an effect only with request"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "live: {internal_allow_from: [10.0.0.0/33]}\n",
            '1:30: live.internal_allow_from[0]: "10.0.0.0/33" is not a network: write it as 10.0.0.0/8 or ::1/128',
        ),
        (
            "live: {internal_token: ''}\n",
            "1:24: live.internal_token: is empty, so that any callback would be accepted; set a token, or remove it",
        ),
    ],
)
def test_settings_of_callbacks_are_checked(tmp_path: Path, text: str, problem: str) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as error:
        load(file, {})
    assert problem in [str(each).removeprefix(f"{file}:") for each in error.value.problems]
