"""What `serve` says before it serves."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from proxy.commands.serve import files_needed, raise_limit
from proxy.config.compile import compile_config
from proxy.config.load import load
from proxy.config.model import Gateway

ONE = {"urls": ["http://a"], "max_connections": 30}
TWO = {"urls": ["http://b", "http://c"], "max_connections": 20}


@pytest.mark.parametrize(
    ("clients", "upstreams", "files"),
    [
        (1000, {}, 1100),
        (1000, {"noetl": ONE}, 1130),
        (1000, {"noetl": ONE, "other": TWO}, 1170),
        (50, {"noetl": ONE, "other": TWO}, 200),
    ],
    ids=["no upstream", "one url", "every url of every upstream", "no more than clients"],
)
def test_files_are_those_of_clients_and_of_upstreams(clients: int, upstreams: dict[str, object], files: int) -> None:
    limits = {"limits": {"max_connections": clients}}
    assert files_needed(Gateway.model_validate({"server": limits, "upstreams": upstreams})) == files


@pytest.mark.parametrize(("allowed", "told"), [(1129, 1), (1130, 0), (resource.RLIM_INFINITY, 0)])
def test_low_limit_on_files_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, allowed: int, told: int
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (allowed, allowed))
    monkeypatch.setattr(resource, "setrlimit", lambda *_: None)
    file = tmp_path / "gateway.yaml"
    upstream = "upstreams: {noetl: {urls: ['http://a'], max_connections: 30}}\n"
    file.write_text(f"server: {{limits: {{max_connections: 1000}}}}\n{upstream}")
    with capture_logs() as lines:
        raise_limit(compile_config(load(file, {})))
    assert [(line["event"], line["needed"]) for line in lines] == [("limits.files", 1130)] * told
