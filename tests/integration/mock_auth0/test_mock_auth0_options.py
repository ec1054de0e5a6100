"""The options of the command line: https, the issuer, further users, generated users, the seed; and its commands."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from click.testing import CliRunner

from mock_auth0.broken import BROKEN, UNUSUAL
from mock_auth0.cli import main
from tests.integration.mock_auth0.test_mock_auth0_process import DEADLINE, launch
from tests.integration.mock_auth0.test_mock_auth0_token_endpoint import PASSWORD, SERVICE


@contextmanager
def started(*arguments: str) -> Iterator[tuple[str, list[str]]]:
    """Run the program; yield its address, and the lines that it printed before it listened."""
    with launch("--port", "0", "--log-level", "warning", *arguments) as process:
        assert process.stdout
        lines = [process.stdout.readline().rstrip()]
        wanted = sum(option in arguments for option in ("--tls", "--issuer", "--admin"))
        lines += [process.stdout.readline().rstrip() for _ in range(wanted)]
        yield lines[0].split()[3].replace("localhost", "127.0.0.1"), lines[1:]
        process.terminate()
        process.communicate(timeout=DEADLINE)
    assert process.returncode == 0


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run a command in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(main, arguments)


def test_https_has_an_authority_whose_certificate_is_written(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    with started("--tls", "--tls-ca", str(file), "--issuer", "https://auth0.test:8443") as (url, lines):
        assert lines == ["  issuer https://auth0.test:8443/", f"  certificate authority: {file}"]
        trusting = ssl.create_default_context(cafile=str(file))
        with httpx.Client(verify=trusting, trust_env=False) as client:
            document = client.get(f"{url}.well-known/openid-configuration").json()
            sent = client.get(f"{url}health", headers={"Host": "auth0.test"}, extensions={"sni_hostname": "auth0.test"})
        assert document["issuer"] == "https://auth0.test:8443/"
        assert sent.text == "ok", "the certificate has the name of the issuer"
        with httpx.Client(trust_env=False) as client, pytest.raises(httpx.ConnectError):
            client.get(f"{url}health")


def test_users_are_added_and_the_clients_stay(tmp_path: Path) -> None:
    file = tmp_path / "more.yaml"
    file.write_text(
        "users: [{email: USER@example.com, password: changed}, {email: more@example.com, password: password}]\n"
    )
    with started("--users", str(file), "--generate-users", "10000") as (url, _), httpx.Client(trust_env=False) as http:

        def login(email: str, password: str = "password") -> int:
            form = PASSWORD | {"username": email, "password": password}
            return http.post(f"{url}oauth/token", data=form).status_code

        assert [login("more@example.com"), login("dev@example.com"), login("user@example.com")] == [200, 200, 403]
        assert login("user@example.com", "changed") == 200
        assert [login(f"user{n}@example.com") for n in ("00001", "10000", "10001", "00000", "1")] == [200, 200] + [
            403
        ] * 3
        assert http.post(f"{url}oauth/token", data=SERVICE).status_code == 200


def test_a_token_without_a_server_is_of_the_seed_of_a_server(run: Any) -> None:
    with started("--seed", "a seed") as (url, _):
        document = httpx.get(f"{url}.well-known/jwks.json", trust_env=False).json()
    token = run("token", "--user", "dev@example.com", "--seed", "a seed").output.strip()
    key = jwt.PyJWKSet.from_dict(document)[jwt.get_unverified_header(token)["kid"]]
    claims = jwt.decode(token, key, algorithms=["RS256"], audience="noetl-gateway", issuer="http://localhost:8085/")
    assert claims["email"] == "dev@example.com"


def test_an_expired_token_is_printed(run: Any) -> None:
    shown = json.loads(run("token", "--user", "dev@example.com", "--expired", "--json").output)
    claims = jwt.decode(shown["token"], options={"verify_signature": False})
    assert claims["exp"] < claims["iat"]
    assert (shown["broken"], shown["refused"]) == ("expired", True)


def test_claims_and_header_of_a_token_are_given(run: Any) -> None:
    given = ("--claim", 'roles=["admin"]', "--claim", "org=acme", "--claim", "name=null", "--header", "kid=x")
    more = ("--kind", "access_token", "--audience", "https://api.example", "--scope", "openid a", "--lifetime", "60")
    shown = json.loads(run("token", "--json", *given, *more).output)
    claims = jwt.decode(shown["token"], options={"verify_signature": False})
    assert (claims["roles"], claims["org"], claims["scope"]) == (["admin"], "acme", "openid a")
    assert claims["exp"] - claims["iat"] == 60
    assert jwt.get_unverified_header(shown["token"])["kid"] == "x"


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--user", "nobody@example.com"), "user: there is no user nobody@example.com"),
        (("--client", "nobody"), "client_id: there is no client nobody; known: noetl-gateway"),
        (("--broken", "magic"), "broken: unknown: magic (known: access-token"),
        (("--claim", "name"), "--claim name: must be NAME=JSON"),
        (("--issuer", "localhost"), "must be an http or https URI"),
        (("--config", "missing.yaml"), "missing.yaml: No such file or directory"),
    ],
)
def test_a_wrong_option_of_token_is_one_line(run: Any, arguments: tuple[str, ...], problem: str) -> None:
    result = run("token", *arguments)
    assert result.exit_code == 1
    assert result.output.startswith(f"Error: {problem}")
    assert result.output.count("\n") == 1


def test_all_broken_and_unusual_tokens_are_listed(run: Any) -> None:
    output = run("broken").output
    assert [name for name in [*BROKEN, *UNUSUAL] if f"  {name} " not in output] == []


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--issuer", "https://a.test/path"), "--issuer"),
        (("--tls-cert", "a.pem"), "--tls-cert and --tls-key need each other"),
        (("--tls", "--tls-cert", "a.pem", "--tls-key", "b.pem"), "--tls-cert a.pem, --tls-key b.pem: No such file"),
        (("--tls", "--tls-ca", "/proc/ca.pem"), "--tls-ca /proc/ca.pem: "),
        (
            ("--tls", "--tls-ca", "no/such/ca.pem"),
            "there is no folder no/such: create it first",
        ),
        (("--generate-users", "-1"), "--generate-users"),
        (("--backchannel-logout-uri", "foo"), "'--backchannel-logout-uri': must be an http or https URI"),
        (("--seed", ""), "'--seed': must not be empty"),
        (("--host", ""), "'--host': must not be empty"),
        (("--clock", "soon"), "--clock soon: an instant"),
        (("--config", "missing.yaml"), "missing.yaml: No such file"),
        (("--users", "missing.yaml"), "missing.yaml: No such file"),
    ],
)
def test_a_wrong_option_ends_the_start(run: Any, arguments: tuple[str, ...], problem: str) -> None:
    result = run("--port", "0", *arguments)
    assert (result.exit_code, problem in result.output) == (2, True), result.output


def test_a_missing_package_is_named_with_its_extra(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "trustme", None)
    result = run("--port", "0", "--tls")
    assert (result.exit_code, "pip install 'noetl-edge[mocks]'" in result.output) == (2, True)
