"""The shell of the tests of commands."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.commands import names
from tests.unit.commands.shell import GOOD, Shell


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    monkeypatch.chdir(tmp_path)
    for name in ("GATEWAY_PORT", "GATEWAY_BIND", "NOETL_BASE_URL", "LOG_FORMAT", "LOG_LEVEL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(names, "unresolved", lambda wanted: {})
    Path("gateway.yaml").write_text(GOOD)
    return Shell(monkeypatch, capsys)
