"""The commands as a person at a terminal sees them: what is printed, where, and the exit status."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import click
import pytest

from proxy import cli
from proxy.http.credentials import key_of
from proxy.observe.audit import AuditFile, AuditSettings, local_event
from proxy.sessions.file import FileStore
from proxy.sessions.store import Identity, new_session, new_token
from tests.unit.commands.shell import GOOD, Shell

FIVE_MISTAKES = """\
server:
  prot: 8090
  limits: {header_timeout: 10}
upstreams:
  noetl: {urls: ["localhost:8082"]}
auth:
  tenants:
    - {domain: a.example.com, audience: [x], algorithms: [HS256]}
acl:
  rules:
    - {allow: [exectue], playbooks: ["a/**"]}
"""


def every_command(group: click.Group, *path: str) -> list[tuple[str, ...]]:
    context = click.Context(group)
    inner = [(name, group.get_command(context, name)) for name in group.list_commands(context)]
    deeper = [found for n, c in inner if isinstance(c, click.Group) for found in every_command(c, *path, n)]
    return [(*path, name) for name, _ in inner] + deeper


@pytest.mark.parametrize("path", every_command(cli.cli), ids=" ".join)
def test_every_command_has_help_with_an_example(shell: Shell, path: tuple[str, ...]) -> None:
    status, out, _ = shell(*path, "--help")
    assert status == 0
    assert f"Example: noetl-edge {' '.join(path)}" in " ".join(out.split())


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("frob",), "noetl-edge: No such command 'frob'."),
        (("relaod",), "noetl-edge: No such command 'relaod'. Did you mean 'reload'?"),
        (("serve", "--frob"), "noetl-edge: No such option '--frob'."),
        (("check", "-c", "nope.yaml"), "nope.yaml: can't be read: No such file or directory; give the file with -"),
        (("serve", "-c", "nope.yaml"), "nope.yaml: can't be read: No such file or directory; give the file with -"),
        (("explain",), "noetl-edge: give exactly one of --execute PLAYBOOK, --view, --modify, --delete and --path"),
        (("explain", "--execute", "../x"), "noetl-edge: execute is not the path of a playbook"),
        (("explain", "--claim", "x", "--view", "y"), "noetl-edge: --claim x: write NAME=VALUE"),
        (("routes", "GET"), "noetl-edge: give a method and a path, such as: noetl-edge routes GET /noetl/executions"),
        (("routes", "GET", "/a/../b"), "noetl-edge: /a/../b gets 400: the path must not contain .."),
        (("sessions", "list"), "noetl-edge: no session folder at "),
        (("sessions", "end"), "noetl-edge: give a session id, --user EMAIL, or --all"),
        (("init",), "noetl-edge: gateway.yaml exists already; give another file, or move it away"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_mistake_is_one_line_on_stderr_and_exit_2(shell: Shell, arguments: tuple[str, ...], line: str) -> None:
    status, out, err = shell(*arguments)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(line)


def test_an_unexpected_error_is_one_line_without_a_traceback(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise RuntimeError("wires\ncrossed")

    monkeypatch.setattr("proxy.commands.schema.gateway_schema", broken)
    status, _, err = shell("schema")
    assert status == 70
    assert err == "noetl-edge: unexpected RuntimeError: wires (a bug; please report it)\n"


def test_check_of_five_mistakes_prints_five_lines_with_line_and_column(shell: Shell) -> None:
    Path("gateway.yaml").write_text(FIVE_MISTAKES)
    status, out, err = shell("check")
    assert (status, out) == (2, "")
    assert [line.split(": ")[:2] for line in err.splitlines()] == [
        ["gateway.yaml:2:3", "server.prot"],
        ["gateway.yaml:3:28", "server.limits.header_timeout"],
        ["gateway.yaml:5:18", "upstreams.noetl.urls[0]"],
        ["gateway.yaml:8:59", "auth.tenants[0].algorithms[0]"],
        ["gateway.yaml:11:16", "acl.rules[0].allow[0]"],
    ]


def test_check_of_a_sound_file_tells_what_it_found(shell: Shell) -> None:
    status, out, err = shell("check")
    assert (status, err) == (0, "")
    assert out.startswith("gateway.yaml: valid\n")
    assert "2 rules for 1 roles, deny by default" in out


def test_check_warns_on_stderr_and_still_exits_0(shell: Shell) -> None:
    Path("gateway.yaml").write_text("server: {host: 0.0.0.0}\n" + GOOD)
    status, out, err = shell("check")
    assert (status, out.splitlines()[0]) == (0, "gateway.yaml: valid, with 1 warning")
    assert err.startswith("gateway.yaml:1:16: warning: server.host: ")


def test_check_fails_when_an_acl_test_does(shell: Shell) -> None:
    Path("gateway.yaml").write_text(GOOD + "  tests: [{as: {email: a@x.org}, execute: a/b, expect: deny}]\n")
    status, _, err = shell("check")
    assert (status, err) == (
        2,
        "gateway.yaml:9:11: acl.tests[0]: expected deny for a@x.org: execute a/b, but allowed by gateway.yaml:7\n",
    )


def test_serve_refuses_a_sandbox_tenant_on_a_public_address(shell: Shell) -> None:
    tenant = "{domain: a, issuer: 'http://localhost:8085/', audience: [x]}"
    Path("gateway.yaml").write_text(f"server: {{host: 0.0.0.0}}\nauth: {{tenants: [{tenant}]}}\n")
    status, _, err = shell("serve")
    assert status == 2
    assert err.startswith("gateway.yaml:1:16: server.host: is a public address, but tenant a is a sandbox")


def test_serve_says_in_one_line_that_the_port_is_in_use(shell: Shell, unused_tcp_port: int) -> None:
    async def listening() -> asyncio.Server:
        return await asyncio.start_server(lambda *_: None, "127.0.0.1", unused_tcp_port)

    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(listening())
    Path("gateway.yaml").write_text(f"server: {{port: {unused_tcp_port}}}\n{GOOD}")
    status, _, err = shell("serve")
    server.close()
    loop.run_until_complete(server.wait_closed())
    loop.close()
    (line,) = [text for text in err.splitlines() if text.startswith("noetl-edge")]
    assert (status, line) == (
        2,
        f"noetl-edge: can't listen on 127.0.0.1:{unused_tcp_port}: the address is already in use; "
        "is another program using the port?",
    )


def test_routes_prints_the_table_in_force(shell: Shell) -> None:
    status, out, _ = shell("routes")
    assert status == 0
    assert [line.split()[1] for line in out.splitlines()][:3] == ["PATH", "/health", "/ready"]


def test_routes_tells_which_route_matches_and_why_not_the_others(shell: Shell) -> None:
    route = "{path: /noetl/catalog/list, upstream: noetl, rewrite: /api/catalog/list, methods: [POST]}"
    Path("gateway.yaml").write_text(f"{GOOD}routes: [{route}]\n")
    status, out, _ = shell("routes", "POST", "/noetl/catalog/list")
    assert status == 0
    assert "matches      /noetl/catalog/list, POST (gateway.yaml:9:10)" in out
    assert "not          /noetl/{path:**}: its path is less specific, or an earlier route is the same" in out


@pytest.mark.parametrize(("path", "text"), [("/nope", "404"), ("/health", "405: the path accepts GET, HEAD, OPTIONS")])
def test_routes_tells_that_nothing_matches(shell: Shell, path: str, text: str) -> None:
    status, out, _ = shell("routes", "DELETE", path)
    assert status == 1
    assert text in out


def test_explain_gives_every_rules_verdict_and_the_deciding_one(shell: Shell) -> None:
    status, out, _ = shell("explain", "--as", "a@x.org", "--execute", "a/secret")
    assert (status, out.splitlines()) == (
        1,
        [
            "user       a@x.org, roles: dev",
            "request    execute on playbook a/secret",
            "  gateway.yaml:7  allow [execute] on a/**: allows",
            "  gateway.yaml:8  deny [execute] on a/secret: denies",
            "decision   deny: denied by gateway.yaml:8",
        ],
    )


def test_explain_of_an_allowed_request_exits_0(shell: Shell) -> None:
    assert shell("explain", "--as", "a@x.org", "--execute", "a/b")[0] == 0


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        ('{"path": "a/b"}', 0, "decision   allow: allowed by gateway.yaml:7"),
        ('{"path": "a/secret"}', 1, "decision   deny: denied by gateway.yaml:8"),
        ('{"path": "a/b", "catalog_id": 1}', 1, "decision   deny: 400: Give path or catalog_id, not both"),
        ("{", 2, "--body: The body is not JSON"),
        (None, 2, "POST /noetl/execute is authorized by its body"),
    ],
)
def test_explain_decides_on_the_body_of_a_request(shell: Shell, body: str | None, status: int, text: str) -> None:
    given = ("--body", body) if body is not None else ()
    got, out, err = shell("explain", "--as", "a@x.org", "--method", "POST", "--path", "/noetl/execute", *given)
    assert (got, text in out + err) == (status, True)


def test_explain_shows_the_response_to_a_foreign_origin(shell: Shell) -> None:
    _, out, _ = shell("explain", "--as", "a@x.org", "--path", "/health", "--origin", "https://evil.example")
    assert "origin     https://evil.example is rejected" in out


def test_schema_is_json(shell: Shell) -> None:
    status, out, _ = shell("schema")
    assert (status, json.loads(out)["title"]) == (0, "gateway.yaml")


def test_init_writes_a_file_that_check_accepts(shell: Shell) -> None:
    Path("gateway.yaml").unlink()
    assert shell("init")[0] == 0
    assert shell("check")[0] == 0


async def _filled(folder: Path, *emails: str) -> None:
    store = FileStore(folder)
    for email in emails:
        key = key_of(new_token())
        assert key is not None
        identity = Identity("https://a.example.com/", email, email, email, "a.example.com")
        session = new_session(key, identity, now=time.time(), lifetime=60, ip="127.0.0.1", user_agent="\x1b[31mred")
        await store.create(key, session, max_per_user=0)
    await store.close()


def test_sessions_list_shows_whose_they_are_and_nothing_that_a_terminal_obeys(shell: Shell) -> None:
    asyncio.run(_filled(Path("sessions"), "a@x.org", "b@x.org"))
    status, out, _ = shell("sessions", "list")
    assert (status, out.count("@x.org"), "\x1b" in out) == (0, 2, False)


def test_sessions_end_ends_those_of_one_user(shell: Shell) -> None:
    asyncio.run(_filled(Path("sessions"), "a@x.org", "a@x.org", "b@x.org"))
    assert shell("sessions", "end", "--user", "a@x.org")[1] == "ended 2 sessions\n"
    assert shell("sessions", "list")[1].count("@x.org") == 1


def test_sessions_end_takes_an_id_from_the_list(shell: Shell) -> None:
    asyncio.run(_filled(Path("sessions"), "a@x.org"))
    listed = json.loads(shell("sessions", "list", "--json")[1])
    assert shell("sessions", "end", listed["id"])[:2] == (0, "ended 1 session\n")
    assert shell("sessions", "end", listed["id"])[:2] == (1, "ended 0 sessions\n")


def test_sessions_purge_leaves_what_is_valid(shell: Shell) -> None:
    asyncio.run(_filled(Path("sessions"), "a@x.org"))
    assert shell("sessions", "purge")[:2] == (0, "deleted 0 expired sessions\n")


def test_sessions_in_memory_cannot_be_listed_from_here(shell: Shell) -> None:
    Path("gateway.yaml").write_text(GOOD.replace("{path: sessions}", "{store: memory}"))
    assert shell("sessions", "list")[2] == (
        "noetl-edge: sessions.store is memory: only the running gateway can access its sessions\n"
    )


@pytest.mark.parametrize(
    ("more", "place"),
    [
        ("server: {tls: {certificate: none.pem, key: none.key}}\n", "1:29: server.tls.certificate: "),
        ("upstreams: {noetl: {urls: ['https://a'], tls: {ca: none.pem}}}\n", "1:52: upstreams.noetl.tls.ca: "),
    ],
)
def test_check_names_certificates_that_are_not_there(shell: Shell, more: str, place: str) -> None:
    Path("gateway.yaml").write_text(more)
    status, _, err = shell("check")
    assert (status, err.startswith(f"gateway.yaml:{place}none.pem")) == (2, True)


def trusted(**files: str) -> None:
    """Write a configuration with trusted documents, and these documents."""
    Path("gateway.yaml").write_text(GOOD + "graphql:\n  trusted_documents: documents\n")
    Path("documents").mkdir()
    for name, text in files.items():
        Path("documents", f"{name}.graphql").write_text(text)


def test_check_tells_how_many_documents_are_trusted(shell: Shell) -> None:
    trusted(a="{ version }", b="{ health }")
    status, out, _ = shell("check")
    assert status == 0
    assert "  documents  2 trusted in documents; no other document runs\n" in out


def test_check_tells_what_is_wrong_with_trusted_documents_and_where(shell: Shell) -> None:
    trusted(a="{\n  nothing\n}", b="{ version")
    status, _, err = shell("check")
    assert (status, err.splitlines()) == (
        2,
        [
            "documents/a.graphql:2:3: Cannot query field 'nothing' on type 'Query'.",
            "documents/b.graphql:1:10: Expected Name, found <EOF>.",
        ],
    )


def test_check_refuses_a_folder_without_trusted_documents(shell: Shell) -> None:
    trusted()
    status, _, err = shell("check")
    assert status == 2
    assert err.startswith("gateway.yaml:10:22: graphql.trusted_documents: documents contains neither")


def test_audit_files_are_verified_without_a_configuration(shell: Shell) -> None:
    Path("gateway.yaml").unlink()
    Path("key").write_text("secret\n")
    for name, key in (("plain.log", b""), ("keyed.log", b"secret")):
        AuditFile(AuditSettings(Path(name), 10**6, 1, key)).append(local_event("login", "success", ""))
    assert shell("audit", "verify", "plain.log") == (0, "1 lines in 1 files: valid\n", "")
    assert shell("audit", "verify", "keyed.log", "--key-file", "key") == (0, "1 lines in 1 files: valid\n", "")
    assert shell("audit", "verify", "keyed.log")[0] == 1
    assert shell("audit", "verify", "none.log") == (2, "", "noetl-edge: none.log: No such file or directory\n")
    assert shell("audit", "verify", "plain.log", "-c", "none.yaml")[0] == 2
    assert shell("audit", "verify")[0] == 2


def test_audit_verify_lists_incomplete_lines(shell: Shell) -> None:
    Path("gateway.yaml").write_text(GOOD + "audit: {file: audit.log}\n")
    audit = AuditFile(AuditSettings(Path("audit.log"), 10**6, 1, b""))
    audit.append(local_event("login", "success", ""))
    with Path("audit.log").open("a") as stream:
        stream.write('{"at"')
    audit.append(local_event("login", "success", ""))
    status, out, err = shell("audit", "verify")
    assert (status, out) == (0, "2 lines in 1 files: valid\n")
    assert err.endswith("audit.log:2: the line is incomplete: a process was stopped while it wrote\n")
