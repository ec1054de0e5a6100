# ruff: noqa: E501 - data in lines
"""Random requests: ordinary ones for the most part, and everything odd that clients send."""

from __future__ import annotations

import json
from random import Random

METHODS = (
    ("GET",) * 10
    + ("POST",) * 6
    + ("HEAD", "HEAD", "PUT", "PATCH", "DELETE", "DELETE", "OPTIONS", "TRACE", "get", "FOO")
)
RELAYS = ("/noetl",) * 6 + ("/open", "/maybe", "/limited", "/inside", "/admins", "/hosted", "/plain", "/plain/api")
PATHS = (
    "/things", "/things", "/things/1", "/things/", "/", "", "/%74hings", "/a%20b", "/a%2fb", "/a//b", "/./a", "/a/../b", "/a/..;/b", "/a;x=1", "/%c3%a9", "/a%zz", "/secret/x",
    "/a%00", "/a.b", "/.a", "/a/.", "/a+b", "/a@b:c",
)  # fmt: skip
ANSWERS = (
    "/answer/404", "/answer/500", "/answer/302", "/answer/304", "/answer/204", "/answer/chunked", "/answer/close", "/answer/cookie", "/answer/dated", "/answer/vary", "/answer/hop",
    "/answer/latin", "/answer/long", "/answer/cors", "/answer/cached", "/answer/odd", "/answer/sniffed", "/answer/early", "/answer/ended",
)  # fmt: skip
FAILING = ("/answer/502", "/answer/503", "/answer/504", "/answer/reset", "/answer/garbage")
EXECUTIONS = (
    "/executions/100/status", "/executions/100", "/executions/200", "/executions/200/events", "/executions/999", "/executions/600/status", "/executions/abc", "/executions/x1/status",
    "/Executions/100/", "/executions", "/executions/100/cancel", "/executions/200/cancel", "/executions/100/rerun", "/executions/200/rerun", "/executions/100/other",
)  # fmt: skip
JUDGED = (
    "/execute",
    "/execute",
    "/Execute/",
    "/execute?x=1",
    "/catalog/resource",
    "/catalog//resource",
    "/catalog/list",
    "/credentials",
    "/execute/batch",
    "/catalog/register",
    "/mcp/playbook/team/flow/jsonrpc",
    "/mcp/secret/flow/lifecycle/deploy",
    "/catalog/secret/flow/ui_schema",
    "/vars/100",
    "/vars/200/x",
    "/replay/state?execution_id=200",
    "/replay/state?execution_id=100&execution_id=200",
)
OWN = (
    "/api/auth/me",
    "/api/auth/me",
    "/api/auth/validate",
    "/api/auth/validate",
    "/api/auth/check-access",
    "/api/auth/check-access",
    "/api/auth/sessions",
    "/health",
    "/nope",
    "/",
)
QUERIES = ("",) * 8 + (
    "?",
    "?a=1",
    "?a=%41&b",
    "?session_token=SECRET",
    "?ticket=SECRET&a=1",
    "?a=b?c",
    "?%zz",
    "?a b",
    "?é",
)
TOKENS = ("anna",) * 6 + ("root", "root", "eve")
BODIES = (
    '{"path": "team/flow"}', '{"path": "team/flow", "workload": {"a": 1}}', '{"path": "secret/flow"}', '{"path": "shared"}', '{"catalog_id": 5}', '{"catalog_id": "7"}',
    '{"path": "team/flow", "catalog_id": 5}', '{"path": "team/flow", "path": "secret/flow"}', '{"path": "../x"}', "{}", "[]", "{", "", "null", '{"path": 5}', '{"path": "team/\\ud800"}',
    '{"executions": [{"path": "team/flow"}, {"path": "secret/flow"}]}', '{"executions": [{"path": "team/flow"}]}', '{"method": "tools/call"}', '{"method": "ping"}',
    '{"content": "metadata: {path: team/flow}"}', '{"content": "metadata: {path: secret/flow}"}',
    '{"session_token": "anna"}', '{"session_token": "00000000000000000000000000000000"}', '{"session_token": 5}', '{"session_token": ""}', '{"session_token": "zz"}',
    '{"playbook_name": "team/flow"}', '{"playbook_name": "secret/flow", "permission_type": "view"}', '{"playbook_path": "shared", "permission_type": "edit"}',
    '{"playbook_name": "a", "permission_type": "fly"}', '{"session_token": "eve", "playbook_name": "team/flow"}', "text", "x" * 100, "x" * 3000, "x" * 2000, '{"a": NaN}', "\ufeff{}", '{"a": "é"}',
)  # fmt: skip
DOCUMENTS = (
    "{ me { userId email displayName roles } }", "{ version }", "{ health }", "{ executionStatus(executionId: \"100\") { executionId path status completed failed currentStep completedSteps variables } }",
    '{ execution(id: 200) { id status result error endTime } }', '{ execution(id: "999") { id } }', '{ execution(id: "abc") { id } }', "{ playbooks(first: 1) { name version } }", '{ playbook(name: "team/x") { name version } }',
    '{ playbook(name: "secret/x") { name } }', "{ executions(first: 2) { id path } }", 'mutation { executePlaybook(name: "team/flow") { id executionId status } }',
    'mutation { executePlaybook(name: "secret/flow") { id } }', 'mutation { cancelExecution(executionId: "100") { status } }', 'mutation { rerunExecution(executionId: "100") { id } }',
    'mutation { proxyRequest(input: {method: "GET", endpoint: "/api/things"}) { success status data } }', 'mutation { proxyRequest(input: {method: "GET", endpoint: "/api/secret/x"}) { status } }',
    'mutation { proxyRequest(input: {method: "POST", endpoint: "/api/execute", body: {path: "secret/flow"}}) { status data } }',
    '{ execution(id: "100") { status events(first: 2) { id type at result } } }', '{ execution(id: "abc") { events { id } } }', '{ execution(id: "200") { a: events { id } b: events(after: "x") { id } } }',
    "{ executions(first: 1, after: \"MToyOjA\") { id cursor } }", '{ executions(after: "") { id } }', 'mutation { cancelExecution(executionId: "100") { events(first: -1) { id } } }',
    "{ nothing }", "{", "{ a: version b: version }", "{ me { email } version }", "query A { version } query B { me { email } }", "{ __schema { queryType { name } } }", "subscription { execution(executionId: \"1\") { id } }",
)  # fmt: skip
FIELDS: tuple[tuple[str, ...], ...] = (
    ("User-Agent: tests",), ("user-agent: other/2",), ("Accept: application/json",), ("accept: application/graphql-response+json",), ("accept: image/png",), ("accept: text/html",), ("Accept-Encoding: gzip",),
    ("X-Custom: 1",), ("x-custom: 2",), ("x-custom: 1", "X-Custom: 2"), ("X_Custom: 3",), ("x-name: \xe4\xff",), ("x-empty:",), ("X-User-Id: 666",), ("x_user_roles: admin",), ("x-real-ip: 6.6.6.6",),
    ("x-request-id: mine-1",), ("x-request-id: not valid",), ("x-request-id:", "x-request-id: second"), ("traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",), ("traceparent: 00-zz",),
    ("tracestate: a=1",), ("connection: close",), ("connection: keep-alive",), ("connection: x-custom, keep-alive",), ("Connection: X-Name",), ("te: trailers",), ("upgrade: h2c", "connection: upgrade, http2-settings", "http2-settings: AAE"),
    ("upgrade: h2c",), ("expect: 100-continue",), ("expect: other",), ("keep-alive: timeout=5",), ("proxy-authorization: x",), ("range: bytes=0-1",), ("if-none-match: *",), ("dnt: 1",),
    ("origin: http://ours.test",), ("origin: https://a.ours.test",), ("origin: http://evil.test",), ("origin: null",), ("origin: http://gateway.test",), ("Origin: https://GATEWAY.test:443",), ("origin: http://route.test",), ("origin:",),
    ("x-forwarded-for: 198.51.100.7",), ("x-forwarded-for: 198.51.100.8:1234",), ("x-forwarded-for: [2001:db8::1]:443",), ("x-forwarded-for: garbage",), ("x-forwarded-for: 203.0.113.1, ,198.51.100.7",),
    ("X-Forwarded-For: 203.0.113.1", "x-forwarded-for: 198.51.100.7"), ("cf-connecting-ip: 198.51.100.9",), ("x-forwarded-proto: https",), ("x-forwarded-proto: wss",), ("x-forwarded-proto: https, http",),
    ("x-requested-with: x",), ("content-encoding: gzip",), ("content-encoding: identity",), ("content-type: text/plain",), ("access-control-request-method: POST",), ("x-http-method-override: DELETE",),
    ("sec-fetch-site: cross-site",), ("sec-fetch-site: same-origin",), ("sec-fetch-site: cross-site", "origin: http://ours.test"),
    ("cookie: a=1; b=2",), ("cookie:",), ("cookie: NAME=00000000000000000000000000000000; a=1",),
)  # fmt: skip
HOSTS = ("gateway.test",) * 12 + (
    "GATEWAY.test",
    "gateway.test.",
    "gateway.test:",
    "gateway.test:8443",
    "other.test",
    "a.test",
    "elsewhere",
    "a b",
    "",
    "127.0.0.1",
)


def credentials(chance: Random) -> list[str]:
    """The fields that sign a request in; `<anna>` stands for a token."""
    token = f"<{chance.choice(TOKENS)}>"
    if chance.random() < 0.55:
        return [f"authorization: Bearer {token}"]
    return list(
        chance.choice(
            (
                [f"Authorization: bearer  {token}"], [f"x-session-token: {token}"], [f"authorization: Bearer {token}", f"X-Session-Token: {token}"],
                [f"cookie: NAME={token}"], [f"cookie: a=1; NAME={token}; b=2"], ["cookie: NAME=zz", f"cookie: NAME={token}"],
                [f"cookie: NAME=00000000000000000000000000000000; NAME={token}"], [f"cookie: NAME={token}", f"cookie: NAME=<{chance.choice(TOKENS)}>"],
                ["authorization:", f"authorization: Bearer {token}"], ["authorization: Bearer zz", f"x-session-token: {token}"], ["x-session-token:", f"x-session-token: {token}"],
                [], ["authorization: Bearer 00000000000000000000000000000000"], ["authorization: Basic YTpi"], [f"authorization: Bearer {token}", f"cookie: NAME={token}"],
            )
        )
    )  # fmt: skip


def target(chance: Random, *, failing: bool) -> str:
    """A path with its query."""
    kind = chance.random()
    if kind < 0.45:
        paths = chance.choice((PATHS, ANSWERS, FAILING if failing else ANSWERS))
        path = chance.choice(RELAYS) + chance.choice(paths)
    elif kind < 0.6:
        path = chance.choice(("/noetl", "/noetl", "/noetl", "/limited", "/plain/api")) + chance.choice(EXECUTIONS)
    elif kind < 0.72:
        path = chance.choice(("/noetl", "/noetl", "/limited")) + chance.choice(JUDGED)
    elif kind < 0.86:
        path = chance.choice(OWN)
    else:
        path = "/graphql"
    return path + chance.choice(QUERIES) if "?" not in path else path


def body_of(chance: Random, path: str, method: str) -> bytes | None:
    """A body, sometimes one that fits."""
    if method not in ("POST", "PUT", "PATCH", "DELETE") and chance.random() < 0.95:
        return None
    if path.startswith("/graphql") and chance.random() < 0.9:
        return json.dumps({"query": chance.choice(DOCUMENTS)}).encode()
    if chance.random() < 0.15:
        return None
    return chance.choice(BODIES).encode("utf-8", "surrogatepass")


def request(chance: Random, *, failing: bool) -> bytes:
    """A request's bytes, but for the tokens and the name of the session cookie."""
    path = target(chance, failing=failing)
    method = "POST" if path.startswith("/graphql") and chance.random() < 0.85 else chance.choice(METHODS)
    if (
        any(word in path.lower() for word in ("execute", "resource", "register", "mcp"))
        or "check-access" in path
        or "validate" in path
    ):
        method = "POST" if chance.random() < 0.9 else method
    body = body_of(chance, path, method)
    fields = credentials(chance)
    for _ in range(chance.choice((0, 0, 1, 1, 1, 2, 4))):
        fields += chance.choice(FIELDS)
    if body is not None and chance.random() < 0.9:
        fields.append(
            chance.choice(
                ("content-type: application/json",) * 6
                + (
                    "Content-Type: application/json; charset=utf-8",
                    "content-type: text/plain",
                    "content-type: application/json; charset=latin-1",
                )
            )
        )
    chance.shuffle(fields)
    chunked = body is not None and chance.random() < 0.06
    if body is not None:
        fields.append("transfer-encoding: chunked" if chunked else f"content-length: {len(body)}")
    version = "HTTP/1.0" if chance.random() < 0.02 else "HTTP/1.1"
    lines = [f"{method} {path} {version}", f"host: {chance.choice(HOSTS)}", *fields, "", ""]
    if chance.random() < 0.01:
        lines.insert(2, "host: twice.test")
    data = body or b""
    if chunked:
        data = (b"%x\r\n%b\r\n" % (len(data), data) if data else b"") + b"0\r\n\r\n"
    return "\r\n".join(lines).encode("latin-1", "replace") + data


def requests(chance: Random, count: int, *, failing: bool) -> list[bytes]:
    """Requests of a client, which often repeats its fields, and sometimes whole requests."""
    made: list[bytes] = []
    while len(made) < count:
        if made and chance.random() < 0.3:
            made.append(chance.choice(made))
        elif made and chance.random() < 0.25:
            _, _, rest = chance.choice(made).partition(b"\r\n")
            first, _, _ = request(chance, failing=failing).partition(b"\r\n")
            made.append(first + b"\r\n" + rest)
        else:
            made.append(request(chance, failing=failing))
    return made
