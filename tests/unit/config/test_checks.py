"""What one key alone does not show: keys that do nothing where they stand."""

from __future__ import annotations

from pathlib import Path

import pytest

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
    assert told(tmp_path, text) == [f"2:33: routes[0].{key}: is for routes with an upstream"]


def test_server_timing_is_for_handlers_too(tmp_path: Path) -> None:
    assert told(tmp_path, "routes: [{path: /a, handler: health, server_timing: true}]\n") == []
