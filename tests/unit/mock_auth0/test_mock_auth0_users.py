"""The users file: what it may say and how a mistake is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from mock_auth0.directory import load, uri_matches
from mock_auth0.settings_file import DEFAULT_FILE, load_file, tenant_entries
from mock_server.yaml_file import YamlFileError

LAUGHS = "\n".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}' if n else 'x'] * 10)}]" for n in range(9))
USER = "{email: a@example.com, password: secret}"


def read(tmp_path: Path, text: str) -> None:
    file = tmp_path / "people.yaml"
    file.write_text(text)
    load(file)


def test_the_built_in_file_has_the_users_of_the_shipped_gateway() -> None:
    emails = {user.email for user in load(DEFAULT_FILE).users.values()}
    assert emails == {f"{name}@example.com" for name in ("user", "dev", "admin", "viewer", "unverified")}


def test_an_email_is_recognised_in_any_case() -> None:
    assert load(DEFAULT_FILE).authenticate("User@Example.com", "password")


def test_extra_claims_do_not_replace_the_subject() -> None:
    user = next(iter(load(DEFAULT_FILE).users.values()))
    assert user.profile(("openid",)) == {"sub": user.subject}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "must be a mapping"),
        ("users: [", "line 2, column 1: not YAML: did not find"),
        ("users: {}\nclients: []", "users: must be a list"),
        ("users: [{email: a}]\nclients: []", "users[0].email: must be an email address"),
        ("users: [{email: a@b, password: 12}]\nclients: []", "users[0].password: must be a text"),
        (
            "users: [{email: a@b, pasword: x}]\nclients: []",
            "line 1: users[0].pasword: unknown key (known: acc",
        ),
        ("users: []\nusers: []", "line 2: users: is there twice"),
        ("issuer: https://a.test/b", "line 1: issuer: must be an http or https URI with a host and a port only"),
        ("tenants: {a.localhost: {users: [{email: a@b}]}}", "tenants.a.localhost.users[0].password: is missing"),
        ("lifetimes: {code: 0}", "lifetimes.code: must be at least 1"),
        ("generate_users: -1", "generate_users: must be at least 0"),
        ("a: &a [*a]", "is nested too deeply, or refers to itself"),
        (LAUGHS, "is nested too deeply, or refers to itself"),
        ("users: [{email: a@b, password: x, claims: {? [a] : b}}]", "line 1"),
        ("clients: [{client_id: a}, {client_id: b}, {client_id: a}]", "clients[2]: a is a duplicate"),
        (f"users: [{USER}, {USER}]\nclients: []", "users[1]: a@example.com is a duplicate"),
        ("users: [{email: a@b, password: x, claims: {sub: y}}]\nclients: []", "users[0].claims.sub: this claim"),
        (
            "users: [{email: a@b, password: x, claims: {d: 2020-01-01}}]\nclients: []",
            "users[0].claims.d: must be a JSON value",
        ),
        ("users: []\nclients: [{client_id: c, grants: [magic]}]", "clients[0].grants[0]: must be 'authorization_code'"),
        (
            "users: []\nclients: [{client_id: c, grants: [client_credentials]}]",
            "clients[0].grants: client_credentials needs a client_secret",
        ),
        ('users: []\ntenants: {"http://b.localhost": {}}', "line 2: tenants.http://b.localhost: must be a host name"),
        ('tenants: {"b.localhost:8085": {}}', "tenants.b.localhost:8085: must be a host name without a scheme, a port"),
        ('tenants: {"*.x": {}}', "tenants.*.x: must be a host name"),
        ('tenants: {"": {}}', "tenants.: must be a host name"),
        ('tenants: {"b.localhost.": {}}', "tenants.b.localhost.: must be a host name"),
        ("tenants: {b.localhost: {}, B.localhost: {}}", "tenants.B.localhost: B.localhost is a duplicate"),
        (
            "clients: [{client_id: c, public_key: nonsense}]",
            "clients[0].public_key: must be a public key of RSA or P-2",
        ),
        ("issuer: https://*.test", "issuer: must be an http or https URI"),
        ("issuer: https://a.test:x", "issuer: must be an http or https URI"),
        ('issuer: "https://a.test:*"', "issuer: must be a URI with a number as its port"),
        (
            'clients: [{client_id: c, backchannel_logout_uri: "http://a:*/x"}]',
            "must be a URI with a number as its port",
        ),
        ('clients: [{client_id: c, redirect_uris: ["http://a:99999/"]}]', "redirect_uris[0]: must be an http or https"),
        (
            "users: []\nclients: [{client_id: c, redirect_uris: [localhost]}]",
            "clients[0].redirect_uris[0]: must be an http or https URI",
        ),
    ],
)
def test_mistake_is_reported_in_one_line_with_its_key(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(YamlFileError) as caught:
        read(tmp_path, text)
    assert problem in str(caught.value)
    assert "people.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("host", ["b.localhost", "auth0", "my_auth0.test", "127.0.0.1", "[::1]", "B.Localhost"])
def test_host_name_of_a_tenant_is_accepted(tmp_path: Path, host: str) -> None:
    file = tmp_path / "tenant.yaml"
    file.write_text(f'tenants: {{"{host}": {{}}}}\n')
    assert host.lower() in tenant_entries(load_file(file))


def test_missing_file_is_reported_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(YamlFileError, match="No such file"):
        load(tmp_path / "people.yaml")


@pytest.mark.parametrize(
    ("allowed", "uri", "matches"),
    [
        ("http://localhost:3000/login", "http://localhost:3000/login", True),
        ("http://localhost:3000/login", "http://localhost:3000/login/", False),
        ("http://localhost:3000/login", "http://localhost:3000/login?next=/", False),
        ("http://localhost:*", "http://localhost:1234", True),
        ("http://localhost:*", "http://localhost/any/path?query=1", True),
        ("http://localhost:*/callback", "http://localhost:1234/callback", True),
        ("http://localhost:*/callback", "http://localhost:1234/other", False),
        ("http://localhost:*/callback", "http://localhost:1234/callback?next=/", False),
        ("http://localhost:*/callback", "http://localhost:1234/callback?", False),
        ("http://localhost:*/callback", "http://localhost/callback?", False),
        ("http://localhost:*/callback?a=b", "http://localhost:1234/callback?a=b", True),
        ("http://localhost:*", "https://localhost:1234/", False),
        ("http://localhost:*", "http://LOCALHOST.evil.example:1234/", False),
        ("http://localhost:*", "http://user@localhost:1234/", False),
        ("http://localhost:*", "http://localhost:99999/", False),
        ("http://localhost:*", "http://localhost:*", False),
        ("http://localhost:*", 'http://localhost:1/"é', False),
        ("http://localhost:*", "http://localhost:1/\r\nX: y", False),
    ],
)
def test_redirect_uris_are_compared_strictly(allowed: str, uri: str, matches: bool) -> None:
    assert uri_matches(allowed, uri) is matches
