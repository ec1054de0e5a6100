# ruff: noqa: E501 - data in lines
"""Which playbooks the content of a registration names."""

from __future__ import annotations

import base64

import pytest

from proxy.errors import BadRequest
from proxy.noetl.content import MAX_NODES, registered


def encoded(text: str) -> str:
    """Return a text in base64."""
    return base64.b64encode(text.encode()).decode()


LONG = "metadata: {path: a}\nx: |\n" + "  some text\n" * 20_000


@pytest.mark.parametrize(
    ("content", "names"),
    [
        ("metadata: {path: a/b, name: c}", ["a/b"]),
        ("metadata:\n  name: c\n", ["c"]),
        ("metadata: {path: null, name: c}", ["c"]),
        ("metadata: {path: '', name: c}", ["c"]),
        ("name: c\nmetadata:\n", ["c"]),
        ("path: p\nmetadata: {name: n}\nname: z", ["p", "n", "z"]),
        ('{"metadata": {"path": "a", "name": "b"}}', ["a"]),
        ('"metadata": {"p\\u0061th": a}', ["a"]),
        ("? metadata\n: ? path\n  : a", ["a"]),
        ("metadata: {path: '1e3'}", ["1e3"]),
        ("metadata: {path: 1/2}", ["1/2"]),
        ("x: &x {path: z}\ny: *x\nmetadata: {path: a}", ["a"]),
        ("workflow: [{metadata: {path: z}, path: z}]\nmetadata: {path: a}", ["a"]),
        ("metadata: {path: é/漢}", ["é/漢"]),
        (encoded("metadata: {path: a}"), ["a"]),
        (f"\n{base64.encodebytes(b'metadata: {path: a}' + b' ' * 99).decode()} ", ["a"]),
        (LONG, ["a"]),
        (encoded(LONG), ["a"]),
    ],
)
def test_content_names_what_it_is_registered_under(content: str, names: list[str]) -> None:
    assert list(registered(content).names) == names


def test_yaml_that_a_server_would_decode_as_base64_names_both_readings() -> None:
    hidden = encoded("metadata: {path: hidden}")
    comment = f"# {hidden}\n'': {{'': ''}}\n"  # the Python server skips what is not in the alphabet of base64
    assert base64.b64decode(comment) == b"metadata: {path: hidden}"
    assert list(registered(comment).names) == ["hidden"]


@pytest.mark.parametrize(
    "content",
    [
        "", " ", None, 5, "x", "[a]", "{{{", "a: b", "metadata: x", "metadata: [a]", "metadata: {path: [a]}", "metadata: {path: {a: b}}", "a: 1\n---\nb: 1",
        "metadata: {path: a, path: b}", "metadata: {path: a}\nmetadata: {path: b}", "metadata: {path: a}\nx: [{y: 1, y: 2}]", "metadata: {path: a}\nx: {1: a, '1': b}",
        "x: &x {path: b}\nmetadata: {<<: *x, name: a}", "x: &x {metadata: {path: b}}\n<<: *x\nmetadata: {path: a}", "x: &x {path: b}\nmetadata: *x", "x: &x b\nmetadata: {path: *x}",
        "metadata: {path: a}\nx: &x [*x]", "metadata: {path: a}\nx: *y", "metadata: {path: a}\n? [b]\n: c", "metadata: {path: a}\n? *x\n: c",
        "metadata: {path: 5}", "metadata: {path: 1e3, name: b}", "metadata: {path: 0o14, name: b}", "metadata: {path: .5x}", "metadata: {path: yes}", "metadata: {path: 2026-01-01}",
        "metadata: {path: !!str 5}", "metadata: {path: !!binary aGk=}", "metadata: {path: !x a}", "metadata: {path: ../a}", "metadata: {path: //a}", "metadata: {path: 'a '}",
        "metadata: {name: a, !!merge k: {path: b}}", "metadata: {name: a, !<tag:yaml.org,2002:merge> k: {path: b}}", "metadata: {name: a, !!merge k: [{path: b}]}",
        "%TAG !e! tag:yaml.org,2002:\n---\nmetadata: {name: a, !e!merge k: {path: b}}", "!!merge k: {metadata: {path: b}}\nname: a", "metadata: {path: a, !!str x: b}",
        "metadata: !!set {path, name}", "metadata: {path: a}\nx: !!omap [{a: b}]", "!!omap [metadata: {path: a}]", "metadata: {path: a}\nx: !y {a: b}",
        "x: &x {lifecycle: {deploy: b}}\nmetadata: {path: a}\nspec: *x", "x: &x b\nmetadata: {path: a}\nspec: {lifecycle: {deploy: *x}}", "metadata: {path: a}\nspec: {lifecycle: {deploy: 5}}",
        "metadata: {path: a}\nx: \ud800", "metadata: {path: a}\x00", "metadata: {path: a}\nx: " + "[" * 200 + "]" * 200, "metadata: {path: a}\nx: [" + "1," * MAX_NODES + "]",
        "a0: &a0 [1,1,1,1,1,1,1,1,1]\n" + "".join(f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9)) + "metadata: {path: a}",
    ],
)  # fmt: skip
def test_content_that_could_be_read_in_two_ways_is_refused(content: object) -> None:
    with pytest.raises(BadRequest):
        registered(content)


@pytest.mark.parametrize(
    ("spec", "runs"),
    [
        ("{url: 'http://a', lifecycle: {deploy: a/b, undeploy: c}}", ["a/b", "c"]),
        ("{lifecycle: {deploy: {path: a}, x: [b, c]}}", ["a", "b", "c"]),
        ("{discovery: {refresh_via: a}, tools: [b]}", ["a"]),
        ("{discovery: {other: a, refresh_via: null}}", []),
        ("{other: {deploy: a}}", []),
    ],
)
def test_an_mcp_server_names_the_playbooks_that_it_runs(spec: str, runs: list[str]) -> None:
    assert list(registered(f"kind: Mcp\nmetadata: {{path: m}}\nspec: {spec}\n").runs) == runs
