"""`noetl-edge token explain`: every check with its verdict, and never the token."""

from __future__ import annotations

import io
import json
import re
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from proxy import cli
from tests.unit.identity.test_tokens import STRANGER, claims, key_entries, token

Explain = Callable[..., tuple[int, str]]


class KeySetServer(BaseHTTPRequestHandler):
    """Answers every request with the key set, but for discovery documents."""

    def do_GET(self) -> None:
        found = self.path.endswith("jwks.json")
        body = json.dumps({"keys": key_entries()}).encode() if found else b"{}"
        self.send_response(200 if found else 404)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing."""


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    """The issuer of a running provider."""
    with HTTPServer(("127.0.0.1", 0), KeySetServer) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://localhost:{server.server_port}/"
        server.shutdown()
        thread.join()


@pytest.fixture
def explain(
    issuer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Explain:
    """Run the command for a token from stdin; return its exit status and its output without repeated spaces."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_PROXY", "*")
    tenant = f"{{domain: t.test, issuer: '{issuer}', audience: [web, api], roles_claim: roles}}"
    roles = "acl: {roles: {staff: {emails: ['*@x.test']}}}\n"
    Path("gateway.yaml").write_text(f"auth: {{tenants: [{tenant}]}}\n{roles}")

    def run(text: str, *options: str, file: str = "-") -> tuple[int, str]:
        monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(text.encode())))
        monkeypatch.setattr("sys.argv", ["noetl-edge", "token", "explain", file, *options])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        shown = out + err
        for part in text.strip().split("."):
            assert len(part) < 12 or part not in shown
        assert isinstance(ended.value.code, int)
        return ended.value.code, re.sub(" +", " ", shown)

    return run


def test_good_token_is_accepted_with_every_check_and_the_roles(explain: Explain, issuer: str) -> None:
    payload = claims(iss=issuer, email="a@x.test", email_verified=True, roles=["own"])
    status, shown = explain(token(payload) + "\n")
    assert status == 0
    lines = dict(line.split(" ", 1) for line in shown.splitlines())
    for name in (
        "form",
        "algorithm",
        "extensions",
        "key",
        "signature",
        "claims",
        "issuer",
        "audience",
        "expiry",
        "user",
    ):
        assert lines[name].startswith("ok"), shown
    assert lines["e-mail"] == '"a@x.test" counts for roles and rules: the token says that it is verified'
    assert (lines["roles"], lines["decision"]) == ("own, staff", "accepted")


def test_unverified_email_does_not_count_and_the_reason_is_printed(explain: Explain, issuer: str) -> None:
    status, shown = explain(token(claims(iss=issuer, email="a@x.test")))
    assert status == 0
    assert "does not count for roles and rules: the token does not say email_verified: true" in shown
    assert "roles none" in shown


@pytest.mark.parametrize(
    ("changes", "header", "lines"),
    [
        ({"aud": "other"}, {}, ['audience FAILED: wrong audience (the token says iss "http://localhost']),
        ({"iss": "https://b.test/"}, {}, ["issuer FAILED: wrong issuer", "audience ok", "signature ok"]),
        ({"exp": 1}, {}, ["expiry FAILED: expired (1970-01-01T00:00:01+00:00)", "signature ok"]),
        ({"exp": None, "aud": "other"}, {}, ["claims FAILED: no exp", "audience FAILED"]),
        ({}, {"kid": "new"}, ['key FAILED: unknown key (no key "new" in the key set', "issuer ok"]),
        ({}, {"alg": "RS512"}, ["algorithm FAILED: algorithm not accepted", "issuer ok"]),
        ({}, {"crit": ["b64"], "b64": True}, ["extensions FAILED: unknown critical header"]),
        ({"events": {}}, {}, ["kind FAILED: not a token to sign in with"]),
        ({"aud": ["web", "x"]}, {}, ["user FAILED: wrong authorized party (azp is null"]),
    ],
)
def test_rejected_token_shows_each_failed_check(
    explain: Explain, issuer: str, changes: dict[str, Any], header: dict[str, Any], lines: list[str]
) -> None:
    status, shown = explain(token(claims(**{"iss": issuer, **changes}), **header))
    assert status == 1
    assert shown.splitlines()[-1] == "decision rejected"
    for line in lines:
        assert f"\n{line}" in shown


def test_signature_of_another_key_fails_and_claims_are_checked_all_the_same(explain: Explain, issuer: str) -> None:
    status, shown = explain(token(claims(iss=issuer), key=STRANGER))
    assert (status, "\nsignature FAILED: bad signature" in shown, "\naudience ok" in shown) == (1, True, True)


@pytest.mark.parametrize("text", ["", "x", "0123456789abcdef0123456789abcdef", "é", "a" * 20_000])
def test_text_that_is_no_token_is_rejected(explain: Explain, text: str) -> None:
    status, shown = explain(text)
    assert status == 1
    assert "form FAILED: " in shown


def test_token_is_read_from_a_file(explain: Explain, issuer: str) -> None:
    Path("token.txt").write_text(token(claims(iss=issuer)))
    assert explain("", file="token.txt")[0] == 0


def test_mistake_of_an_argument_is_one_line(explain: Explain, issuer: str) -> None:
    assert explain(token(), file="none.txt") == (2, "noetl-edge: none.txt: No such file or directory\n")
    assert explain(token(), "--tenant", "b") == (2, 'noetl-edge: no tenant is called "b"; configured: t.test\n')


def test_a_token_in_the_place_of_a_file_is_not_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    secret = "eyJhbGciOiJSUzI1NiJ9." + "a" * 300
    monkeypatch.setattr("sys.argv", ["noetl-edge", "token", "explain", secret])
    with pytest.raises(SystemExit):
        cli.main()
    out, err = capsys.readouterr()
    assert secret not in out + err
    assert "give a file with the token, or - for stdin" in err
