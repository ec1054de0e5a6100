"""Commands as a person at a terminal sees them, in a folder with a configuration."""

from __future__ import annotations

import pytest

from proxy import cli

GOOD = """\
upstreams: {noetl: {urls: ["http://localhost:8082"]}}
auth: {tenants: [{domain: a.example.com, audience: [x]}]}
sessions: {path: sessions}
acl:
  roles: {dev: {emails: ["*@x.org"]}}
  rules:
    - {allow: [execute], roles: [dev], playbooks: ["a/**"]}
    - {deny: [execute], playbooks: ["a/secret"]}
"""


class Shell:
    """Runs commands in a folder."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch, self._capsys = monkeypatch, capsys

    def __call__(self, *arguments: str) -> tuple[int, str, str]:
        """Exit status, what is on stdout, what is on stderr."""
        self._monkeypatch.setattr("sys.argv", ["noetl-edge", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = self._capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, out, err
