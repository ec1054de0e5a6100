"""Every public message of the gateway is explained in docs/troubleshooting.md."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy.errors import GatewayError, known_errors
from scripts.reference import ROOT

PAGE = " ".join((ROOT / "docs" / "troubleshooting.md").read_text().split())
ERRORS = {kind.__name__ for kind in known_errors()} | {"InvalidToken"}
_SHORTEST = 6


def _literal_parts(node: ast.expr) -> tuple[str, ...]:
    """The parts of a text that stand in the source; without those in which values are put."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return (node.value,)
    if isinstance(node, ast.JoinedStr):
        return tuple(str(part.value).strip(": ") for part in node.values if isinstance(part, ast.Constant))
    return ()


def _messages(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ERRORS and node.args:
            yield from (part for part in _literal_parts(node.args[0]) if len(part) >= _SHORTEST)


MESSAGES = sorted({m for path in (ROOT / "proxy").rglob("*.py") for m in _messages(path)})


def test_there_are_messages() -> None:
    assert len(MESSAGES) > 80


@pytest.mark.parametrize("message", MESSAGES)
def test_a_message_is_explained(message: str) -> None:
    assert " ".join(message.split()) in PAGE


@pytest.mark.parametrize("kind", known_errors(), ids=lambda kind: kind.__name__)
def test_the_message_of_each_kind_of_error_is_explained(kind: type[GatewayError]) -> None:
    assert kind.default_text in PAGE
