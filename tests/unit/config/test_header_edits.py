"""Header edits of routes: every problem has its place, and no text shows a value."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner

from proxy.cli import cli
from proxy.config.load import load
from proxy.config.problems import ConfigError

SECRET = "hunter2-hunter2"
START = (
    "upstreams: {noetl: {urls: ['http://localhost:8082']}}\nroutes:\n  - path: /a\n    upstream: noetl\n    headers:\n"
)


def problems(folder: Path, edit: str, environ: Mapping[str, str] | None = None) -> list[str]:
    """Return the problems of a route's `headers`, which begin at line 6, without the name of the file."""
    file = folder / "gateway.yaml"
    file.write_text(START + edit)
    found: list[str] = []
    try:
        load(file, environ or {})
    except ConfigError as error:
        found = [str(problem).removeprefix(f"{file}:") for problem in error.problems]
        trace = "".join(traceback.format_exception(error))
    else:
        trace = ""
    assert SECRET not in trace
    return found


@pytest.mark.parametrize(
    "edit",
    [
        "      request: {set: {x-gateway: noetl-edge, authorization: Basic eA==}, remove: [x-internal, cookie]}\n",
        "      request: {set: {cookie: a=b, origin: 'http://a', user-agent: x, accept-encoding: ''}}\n",
        "      response: {set: {cache-control: no-store, server: x}, remove: [date]}\n",
    ],
)
def test_edit_of_headers_that_the_gateway_does_not_set_is_accepted(tmp_path: Path, edit: str) -> None:
    assert problems(tmp_path, edit) == []


@pytest.mark.parametrize(
    ("edit", "problem"),
    [
        (
            '      request: {set: {x-foo: "a\\r\\nx-user-id: 1"}}\n',
            "6:30: routes[0].headers.request.set.x-foo: has a line break at character 2:"
            " a header value is one line of text",
        ),
        (
            "      request:\n        set:\n          x foo: 1a\n",
            "8:11: routes[0].headers.request.set.x foo: is not a header name: use letters, digits and hyphens",
        ),
        (
            "      request: {set: {X-User-Id: abc}}\n",
            "6:23: routes[0].headers.request.set.X-User-Id: is set by the gateway: an edit can't set or remove it",
        ),
        (
            "      response: {remove: [server, x-request-id]}\n",
            '6:35: routes[0].headers.response.remove[1]: "x-request-id" is set by the gateway:'
            " an edit can't set or remove it",
        ),
        (
            "      response: {set: {Transfer-Encoding: chunked}}\n",
            "6:24: routes[0].headers.response.set.Transfer-Encoding: frames the message:"
            " only the gateway sets or removes it",
        ),
        (
            "      request: {set: {X-Foo: a, x-foo: b}}\n",
            '6:33: routes[0].headers.request.set.x-foo: is the same header as "X-Foo"; keep one of them',
        ),
        (
            "      request: {set: {X-Foo: a}, remove: [x-foo]}\n",
            '6:43: routes[0].headers.request.remove[0]: "x-foo" is in set too; keep it in one of the two lists',
        ),
        (
            "      request: {set: {x-foo: 5}}\n",
            "6:30: routes[0].headers.request.set.x-foo: must be a text; put quotes around it",
        ),
    ],
)
def test_problem_of_an_edit_has_line_column_and_key(tmp_path: Path, edit: str, problem: str) -> None:
    assert problems(tmp_path, edit) == [problem]


@pytest.mark.parametrize(
    ("reference", "source"),
    [
        ("${NOT_SO}", "environment variable NOT_SO"),
        ("${API_KEY}", "environment variable API_KEY"),
        ("Bearer ${API_KEY}", "environment variable API_KEY"),
        ("${file:secret}", "file {folder}/secret"),
    ],
)
def test_value_from_elsewhere_is_named_and_not_shown(tmp_path: Path, reference: str, source: str) -> None:
    value = f"{SECRET}\nx-user-id: 1"
    (tmp_path / "secret").write_text(value)
    edit = f"      request: {{set: {{x-foo: '{reference}'}}}}\n"
    (line,) = problems(tmp_path, edit, {"NOT_SO": value, "API_KEY": value})
    assert line.startswith("6:30: routes[0].headers.request.set.x-foo: has a line break at character ")
    assert line.endswith(f" (from {source.format(folder=tmp_path)})")
    assert SECRET not in line


@pytest.mark.parametrize(
    "value", [f"*{SECRET}", f"!{SECRET} ", f"!{SECRET}!a x", f"'x${{{SECRET}'", f"'${{ {SECRET}}}'", "20230405060708"]
)
def test_malformed_value_is_not_shown(tmp_path: Path, value: str) -> None:
    lines = problems(tmp_path, f"      request: {{set: {{authorization: {value}}}}}\n")
    assert lines
    assert [line for line in lines if SECRET in line or "20230405060708" in line] == []


def test_no_repr_of_an_edit_shows_a_value(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(f"{START}      request: {{set: {{x-foo: {SECRET}}}}}\n")
    loaded = load(file, {})
    assert loaded.gateway.routes is not None
    assert loaded.gateway.routes[0].headers.request.set == {"x-foo": SECRET}
    assert SECRET not in repr(loaded)


def test_check_with_a_line_break_in_a_value_exits_with_2_and_does_not_show_it(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(f"{START}      request: {{set: {{x-foo: '${{UPSTREAM}}'}}}}\n")
    result = CliRunner().invoke(cli, ["check", "--config", str(file)], env={"UPSTREAM": f"{SECRET}\nx: y"})
    assert result.exit_code == 2
    assert result.output.endswith("a header value is one line of text (from environment variable UPSTREAM)\n")
    assert SECRET not in result.output


def test_redirects_are_rewritten_unless_turned_off(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text("upstreams:\n  a: {urls: ['http://a']}\n  b: {urls: ['http://b'], rewrite_location: false}\n")
    upstreams = load(file, {}).gateway.upstreams
    assert (upstreams["a"].rewrite_location, upstreams["b"].rewrite_location) == (True, False)
