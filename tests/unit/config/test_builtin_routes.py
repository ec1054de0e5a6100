"""The built-in routes, and routes of one's own beside them; upstreams of kind `noetl`."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from proxy.config.compile import BUILT_IN, Compiled, compile_config
from proxy.config.lint import lint
from proxy.config.load import load
from proxy.config.plain import shown_settings
from proxy.routing import Found

NOETL = "upstreams: {noetl: {urls: ['http://127.0.0.1:1']}}\n"


def compiled(folder: Path, text: str, environ: dict[str, str] | None = None) -> Compiled:
    file = folder / "gateway.yaml"
    file.write_text(text)
    return compile_config(load(file, environ or {}))


def served_by(config: Compiled, method: str, path: str) -> str:
    found = config.routes.find("", method, path)
    return found.route.target if isinstance(found, Found) else found.because


def test_one_route_of_ones_own_keeps_logins_and_health(tmp_path: Path) -> None:
    config = compiled(tmp_path, NOETL + "routes: [{path: /mine, handler: health}]\n")
    wanted = ["GET /mine", "GET /health", "POST /api/auth/login", "POST /graphql", "GET /noetl/x"]
    got = [served_by(config, *request.split()) for request in wanted]
    assert got == ["health", "health", "auth.login", "graphql", "-> noetl"]


def test_a_route_of_the_same_path_and_method_replaces_the_built_in_one(tmp_path: Path) -> None:
    text = NOETL + "routes: [{path: '/noetl/{rest:**}', upstream: noetl, methods: [GET], require: {roles: [ops]}}]\n"
    config = compiled(tmp_path, text)
    found = config.routes.find("", "GET", "/noetl/catalog/list")
    assert isinstance(found, Found)
    assert found.route.require_roles == {"ops"}
    other = config.routes.find("", "POST", "/noetl/catalog/list")
    assert isinstance(other, Found)
    assert other.route.place == BUILT_IN


def test_a_built_in_route_that_is_replaced_is_not_in_the_table(tmp_path: Path) -> None:
    config = compiled(tmp_path, NOETL + "routes: [{path: /health, handler: ready}]\n")
    assert [e.route.target for e in config.routes.entries if e.pattern.text == "/health"] == ["ready"]
    assert [w for w in lint(config) if w.key == "routes[0]"] == []


def test_a_route_for_one_host_replaces_nothing(tmp_path: Path) -> None:
    config = compiled(tmp_path, NOETL + "routes: [{path: /health, host: a.example.com, handler: ready}]\n")
    assert served_by(config, "GET", "/health") == "health"


def test_without_the_built_in_routes_the_table_is_literal(tmp_path: Path) -> None:
    config = compiled(tmp_path, NOETL + "builtin_routes: false\nroutes: [{path: /mine, handler: health}]\n")
    assert [e.pattern.text for e in config.routes.entries] == ["/mine"]
    (warning,) = [w.text for w in lint(config) if w.key == "builtin_routes"]
    assert "no route has handler: auth.login (nobody can sign in), or an upstream of kind noetl" in warning


def test_the_variable_decides_too(tmp_path: Path) -> None:
    config = compiled(tmp_path, NOETL + "builtin_routes: '${ROUTES:-false}'\n")
    assert config.routes.entries == ()


@pytest.mark.parametrize("name", ["main", "noetl"])
def test_a_noetl_server_of_any_name_is_judged_as_one(tmp_path: Path, name: str) -> None:
    config = compiled(tmp_path, f"upstreams: {{{name}: {{kind: noetl, urls: ['http://127.0.0.1:1']}}}}\n")
    assert served_by(config, "GET", "/noetl/x") == f"-> {name}"
    assert all(e.route.noetl for e in config.routes.entries if e.route.block.upstream)


def test_an_http_server_called_noetl_is_none(tmp_path: Path) -> None:
    config = compiled(tmp_path, "upstreams: {noetl: {kind: http, urls: ['http://127.0.0.1:1']}}\n")
    assert served_by(config, "GET", "/noetl/x") == "no-path"


def test_the_override_of_the_url_is_for_the_noetl_server(tmp_path: Path) -> None:
    text = "upstreams: {main: {kind: noetl, urls: ['http://127.0.0.1:1']}}\n"
    config = compiled(tmp_path, text, {"NOETL_BASE_URL": "http://127.0.0.1:2"})
    assert {n: u.urls for n, u in config.loaded.gateway.upstreams.items()} == {"main": ("http://127.0.0.1:2",)}


def test_the_settings_that_are_shown_are_a_file_again(tmp_path: Path) -> None:

    first = compiled(
        tmp_path, NOETL + "routes: [{path: /mine, handler: health}]\ncorsAllowedOrigins: [http://a.test]\n"
    )
    again = compiled(tmp_path, yaml.safe_dump(shown_settings(first.loaded)))
    assert [(e.pattern.text, e.methods) for e in again.routes.entries] == [
        (e.pattern.text, e.methods) for e in first.routes.entries
    ]
    assert again.loaded.gateway.server == first.loaded.gateway.server
