"""What is a secret in the file is in no `repr` of what was read from it."""

from __future__ import annotations

from pathlib import Path

from proxy.config.compile import compile_config
from proxy.config.load import load
from proxy.config.model import Live
from proxy.gateway import open_audit

SECRET = "hunter2-hunter2"
FILE = f"""
upstreams: {{noetl: {{urls: ["http://localhost:1"]}}}}
audit: {{file: audit.log, key: {SECRET}}}
"""


def test_no_repr_of_a_configuration_tells_a_secret(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(FILE)
    loaded = load(file, {})
    assert loaded.gateway.audit is not None
    assert loaded.gateway.audit.key == SECRET
    compiled = compile_config(loaded)
    audit = open_audit(compiled)
    for thing in (loaded, loaded.gateway, loaded.gateway.audit, compiled, audit, vars(audit)):
        assert SECRET not in repr(thing)
    assert "key=[hidden]" in repr(loaded.gateway)


def test_missing_secret_is_shown_as_missing() -> None:
    assert "internal_token=None" in repr(Live())
