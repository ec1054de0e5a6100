# ruff: noqa: E501 - data in lines
"""YAML, as gateway.yaml.

Input: a file. It loads and compiles, or every problem has its line and column, one line of text, and no secret.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from proxy.config.compile import compile_config
from proxy.config.load import load
from proxy.config.problems import ConfigError

MAX_SIZE = 4096
SECRET = "q7Zx-only-in-the-environment-w3"
WORDS = (
    "server:", "auth:", "tenants:", "acl:", "rules:", "roles:", "routes:", "upstreams:", "noetl:", "urls:", "graphql:", "limits:", "sessions:", "rate_limits:", "cors", "allow:", "deny:",
    "playbooks:", "paths:", "['*']", "**", "${SECRET}", "${SECRET:-x}", "${file:gateway.yaml}", "$${", "include:", "&a", "*a", "<<: *a", "!!int", "!!binary", "---", "? ", "\n  - ", "{", "}", "[", "]",
    "domain:", "audience:", "issuer:", "headers:", "request:", "set:", "tls:", "cert:", "key:", "10s", "5MiB", "1/minute", ".inf", "0x10", "1e400", "2026-01-01",
)  # fmt: skip
_WANDERS = re.compile(rb"\.\.|include|file:\s*/|/dev|/proc|/sys")
_ROOT = Path(__file__).parents[3]


@cache
def _file() -> Path:
    return Path(_folder().name) / "gateway.yaml"


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="noetl-edge-fuzz-")


def run(data: bytes) -> None:
    """Raise AssertionError where a problem is not told as it must be."""
    if _WANDERS.search(data) and b"${" not in data and b"include" in data:
        return  # a pattern of files may lead all over this machine
    file = _file()
    file.write_bytes(data)
    first = problems(file)
    check(first, data, file)
    assert problems(file) == first, "told otherwise the second time"


def problems(file: Path) -> list[tuple[int, int, str, str]]:
    """What is told of a file."""
    try:
        compile_config(load(file, {"SECRET": SECRET}))
    except ConfigError as error:
        found = error.problems
    else:
        return []
    assert found
    for problem in found:
        assert problem.place.file == str(file), problem
        assert str(problem).isprintable(), str(problem)
    return [(p.place.line, p.place.column, p.key, p.text) for p in found]


def check(found: list[tuple[int, int, str, str]], data: bytes, file: Path) -> None:
    """Every problem has a place that is in the file, and one line of text."""
    lines = len(re.split(rb"\r\n|\n|\r|\xc2\x85|\xe2\x80[\xa8\xa9]", data))
    for line, column, key, text in found:
        assert 1 <= line <= lines + 1, f"line {line} of {lines}: {key}: {text}"
        assert 1 <= column <= len(data) + 1, f"column {column}: {key}: {text}"
        assert text
        assert SECRET not in key + text or SECRET.encode() in data, f"{key}: {text}"


def seeds() -> Iterator[bytes]:
    """The file that is delivered, and those of the tests."""
    yield (_ROOT / "gateway.yaml").read_bytes()
    from tests.attack import test_access, test_advisories, test_injection
    from tests.integration import harness, transports

    upstream = "upstreams: {noetl: {urls: ['http://localhost:8082']}}\n"
    yield (harness.TENANT + harness.RULES + transports.MORE + upstream).encode()
    yield (test_injection.WITH_ROLES + test_access.RULES + upstream).encode()
    yield (test_advisories.RULES + test_advisories.ROUTES + upstream).encode()
    for text in (
        "server: {port: ${SECRET}}\n", "a: &a [*a]\n", "a: &a {b: *a}\n", "<<: [1]\n", "server: &s {port: 1}\nlogging: {<<: *s}\n", "? [a]\n: b\n", "server: !!int x\n", "\t", "---\n---\n",
        "acl: {rules: [{allow: ['${SECRET}'], paths: ['/${SECRET}']}]}\n", "upstreams: {noetl: {urls: ['http://${SECRET}@x:99999/']}}\n", "server: {port: 1e400}\n", "server: {port: .nan}\n",
        "acl: {rules: [{allow: ['*'], claims: {a: [1, true, null, x]}, playbooks: ['**']}]}\n", "routes: [{path: '/a/{b}/{c:**}', upstream: noetl, rewrite: '/x/{c}'}]\n", "audit: {file: a, key: '${SECRET}'}\n",
        "server: {limits: {max_header_size: 5MiB, idle_timeout: 10s}}\n", "\x00", "a: \x7f", "a: '\ud7ff'\n", "'", '"\\ud800"', "{" * 60, "- " * 100, "a: |\n x\n  y\n", "server: 2026-01-01\n", "server: {port: 0o10, host: ~}\n",
    ):  # fmt: skip
        yield text.encode()
