# ruff: noqa: E501 - data in lines
"""Which playbooks the content of a registration names."""

from __future__ import annotations

import base64

import pytest

from proxy.errors import BadRequest
from proxy.noetl.content import MAX_NODES, registered_names


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
    assert list(registered_names(content)) == names


def test_yaml_that_a_server_would_decode_as_base64_names_both_readings() -> None:
    hidden = encoded("metadata: {path: hidden}")
    comment = f"# {hidden}\n'': {{'': ''}}\n"  # the Python server skips what is not in the alphabet of base64
    assert base64.b64decode(comment) == b"metadata: {path: hidden}"
    assert list(registered_names(comment)) == ["hidden"]


@pytest.mark.parametrize(
    "content",
    [
        "", " ", None, 5, "x", "[a]", "{{{", "a: b", "metadata: x", "metadata: [a]", "metadata: {path: [a]}", "metadata: {path: {a: b}}", "a: 1\n---\nb: 1",
        "metadata: {path: a, path: b}", "metadata: {path: a}\nmetadata: {path: b}", "metadata: {path: a}\nx: [{y: 1, y: 2}]", "metadata: {path: a}\nx: {1: a, '1': b}",
        "x: &x {path: b}\nmetadata: {<<: *x, name: a}", "x: &x {metadata: {path: b}}\n<<: *x\nmetadata: {path: a}", "x: &x {path: b}\nmetadata: *x", "x: &x b\nmetadata: {path: *x}",
        "metadata: {path: a}\nx: &x [*x]", "metadata: {path: a}\nx: *y", "metadata: {path: a}\n? [b]\n: c", "metadata: {path: a}\n? *x\n: c",
        "metadata: {path: 5}", "metadata: {path: 1e3, name: b}", "metadata: {path: 0o14, name: b}", "metadata: {path: .5x}", "metadata: {path: yes}", "metadata: {path: 2026-01-01}",
        "metadata: {path: !!str 5}", "metadata: {path: !!binary aGk=}", "metadata: {path: !x a}", "metadata: {path: ../a}", "metadata: {path: //a}", "metadata: {path: 'a '}",
        "metadata: {path: a}\nx: \ud800", "metadata: {path: a}\x00", "metadata: {path: a}\nx: " + "[" * 200 + "]" * 200, "metadata: {path: a}\nx: [" + "1," * MAX_NODES + "]",
        "a0: &a0 [1,1,1,1,1,1,1,1,1]\n" + "".join(f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9)) + "metadata: {path: a}",
    ],
)  # fmt: skip
def test_content_that_could_be_read_in_two_ways_is_refused(content: object) -> None:
    with pytest.raises(BadRequest):
        registered_names(content)
