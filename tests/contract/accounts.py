"""`provider: playbook` on a NoETL server: by playbooks of the contract's own, or by the server's own endpoints."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

from proxy.config.model_identity import AuthPlaybooks
from tests.contract.live import python_step
from tests.contract.playbooks import Text
from tests.contract.report import Cell, Column
from tests.contract.server import Server
from tests.contract.servers import DATABASES
from tests.e2e.processes import free_port
from tests.integration.harness import KeptLog, Running, gateway_running, upstream_running
from tests.unit.identity.test_tokens import claims, key_entries, token

DOMAIN = "accounts.test"
ISSUER = f"https://{DOMAIN}/"
ANNA, BEN = "anna@staff.test", "ben@staff.test"
_TABLES = f"""
CREATE SCHEMA IF NOT EXISTS auth;
CREATE TABLE auth.users (user_id serial PRIMARY KEY, auth0_id text UNIQUE, email text, display_name text,
  is_active boolean NOT NULL DEFAULT true, last_login_at timestamptz);
CREATE TABLE auth.roles (role_id serial PRIMARY KEY, role_name text UNIQUE);
CREATE TABLE auth.user_roles (user_id int, role_id int, expires_at timestamptz, PRIMARY KEY (user_id, role_id));
CREATE TABLE auth.sessions (session_token text PRIMARY KEY, user_id int, auth0_token text, expires_at timestamptz,
  ip_address inet, is_active boolean NOT NULL DEFAULT true);
CREATE TABLE auth.playbook_permissions (role_id int, playbook_path text, allow_pattern text, deny_pattern text,
  can_execute boolean, can_view boolean, can_modify boolean);
INSERT INTO auth.roles (role_name) VALUES ('analyst');
INSERT INTO auth.users (auth0_id, email, display_name, is_active) VALUES
  ('{ANNA}', '{ANNA}', 'Anna', true), ('{BEN}', '{BEN}', 'Ben', true);
INSERT INTO auth.user_roles (user_id, role_id) VALUES (1, 1);
INSERT INTO auth.playbook_permissions VALUES (1, '', 'team/%', 'team/secret', true, true, false);
"""
_HELPERS = """
import json, psycopg, secrets
from datetime import datetime, timedelta, timezone
from psycopg.rows import dict_row
def query(text, *values, dsn=dsn, psycopg=psycopg, dict_row=dict_row):  # scripts have no globals
    with psycopg.connect(dsn, row_factory=dict_row) as connection:
        found = connection.execute(text, values)
        return found.fetchall() if found.description else []
def user_of(user_id, query=query):
    roles = "SELECT role_name FROM auth.roles NATURAL JOIN auth.user_roles WHERE user_id = %s"
    (user,) = query("SELECT user_id, email, display_name FROM auth.users WHERE user_id = %s", user_id)
    return {**user, "roles": "{" + ",".join(row["role_name"] for row in query(roles, user_id)) + "}"}
def session_of(token, query=query):
    text = "SELECT s.user_id, s.expires_at FROM auth.sessions s JOIN auth.users u USING (user_id)"
    found = query(text + " WHERE session_token = %s AND s.is_active AND u.is_active AND expires_at > now()", token)
    return found[0] if found else None
"""
_LOGIN = """
import base64
payload = auth0_token.split(".")[1]
read = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
found = query("SELECT user_id, is_active FROM auth.users WHERE email = %s", read["email"])
if not found or not found[0]["is_active"]:
    result = {"outcome": "error", "answer": {"error": "no such user", "message": "Login failed"}}
else:
    made, expires = secrets.token_hex(32), datetime.now(timezone.utc) + timedelta(hours=int(session_duration_hours))
    insert = "INSERT INTO auth.sessions (session_token, user_id, expires_at) VALUES (%s, %s, %s)"
    query(insert, made, found[0]["user_id"], expires)
    user = user_of(found[0]["user_id"])
    result = {"outcome": "success", "answer": {"status": "authenticated", "session_token": made, "user": user,
              "expires_at": expires.replace(tzinfo=None).isoformat()}}
"""
_VALIDATE = """
found = session_of(session_token)
data = {"valid": False}
if found:
    data = {"valid": True, "user": user_of(found["user_id"]), "expires_at": found["expires_at"].isoformat()}
result = {"outcome": "success", "answer": data}
"""
_CHECK = """
found = session_of(session_token)
text = "SELECT 1 FROM auth.playbook_permissions NATURAL JOIN auth.user_roles"
text += " WHERE user_id = %s AND %s LIKE allow_pattern"
text += " AND NOT %s LIKE deny_pattern AND can_" + {"execute": "execute", "view": "view"}.get(action, "modify")
allowed = bool(found and query(text, found["user_id"], playbook_path, playbook_path))
message = "Access granted to " + action + " playbook" if allowed else "Access denied"
result = {"outcome": "success", "answer": {"allowed": allowed, "message": message}}
"""
_CALL_BACK = {
    "kind": "http",
    "method": "POST",
    "endpoint": "{{ gateway_url }}/api/internal/callback",
    "headers": {"content-type": "application/json"},
    "payload": {
        "request_id": "{{ request_id }}",
        "status": "{{ decide.context.outcome }}",
        "data": "{{ decide.context.answer }}",
    },
}


def playbooks(dsn: str) -> list[Text]:
    """Return the three auth playbooks: a Python step that reads the database, and an HTTP callback."""
    paths = AuthPlaybooks()
    given = {
        paths.login: (_LOGIN, ("auth0_token", "session_duration_hours")),
        paths.validate_session: (_VALIDATE, ("session_token",)),
        paths.check_access: (_CHECK, ("session_token", "playbook_path", "action")),
    }
    made = []
    for path, (code, names) in given.items():
        decide = python_step("decide", f"dsn = {dsn!r}\n{_HELPERS}{code}", names, "call_back")
        first = {"step": "start", "tool": {"kind": "python", "code": "result = {}"}, "next": decide["next"]}
        first = {**first, "next": {"spec": {"mode": "exclusive"}, "arcs": [{"step": "decide"}]}}
        workload = dict.fromkeys((*names, "request_id", "gateway_url"), "")
        made.append(Text(path, [first, decide, {"step": "call_back", "tool": _CALL_BACK}], workload))
    return made


def id_token(email: str, **changes: Any) -> str:
    """Return a token of the tenant's."""
    return token(
        claims(**{"iss": ISSUER, "sub": email, "email": email, "email_verified": True, "name": "Anna", **changes})
    )


@asynccontextmanager
async def gateway(server: Server) -> AsyncIterator[Running]:
    """A gateway with the accounts of a server; validations are not cached for long."""

    async def keys(request: web.BaseRequest) -> web.StreamResponse:
        return web.json_response({"keys": key_entries()})

    async with upstream_running() as key_set:
        key_set.answer = keys
        port = free_port()
        tenant = f"{{domain: {DOMAIN}, audience: [web], jwks_url: 'http://127.0.0.1:{key_set.port}/'}}"
        text = (
            f"server: {{public_url: 'http://127.0.0.1:{port}'}}\n"
            f"auth: {{provider: playbook, tenants: [{tenant}], playbooks: {{timeout: 30s}}}}\n"
            f"sessions: {{cache_for: 1s}}\nupstreams: {{noetl: {{urls: ['{server.url}']}}}}\n"
            "acl: {rules: [{allow: ['*'], playbooks: ['**']}, {allow: [view], paths: ['/noetl/health']}]}\n"
        )
        with tempfile.TemporaryDirectory(prefix="noetl-edge-contract-") as folder:
            async with gateway_running(Path(folder), text, log=KeptLog(), at=port) as running:
                yield running


async def check(server: Server, kind: str) -> Column:
    """Sign users in, use their sessions, and end them."""
    database = DATABASES.get(kind)
    if database is None:
        return {("only on the real servers (the sandbox: make e2e)",): Cell("-")}
    database.run_as_noetl("noetl", _TABLES)
    dsn = f"host=127.0.0.1 port={database.port} dbname=noetl user=noetl password=noetl"
    if kind == "python":
        for playbook in playbooks(dsn):
            await server.register(playbook)
    else:
        where = {"db_host": "127.0.0.1", "db_port": str(database.port), "db_name": "noetl"}
        data = {**where, "db_user": "noetl", "db_password": "noetl"}
        credential = {"name": "pg_auth", "type": "postgres", "data": data}
        status, found = await server.send("POST", "/api/credentials", credential)
        assert status == 200, f"the credential can't be made: {status} {found}"
    async with gateway(server) as running:
        column = await _cases(running, lambda statement: database.run_as_noetl("noetl", statement))
        counts = running.serving.process.measures.metrics.auth_calls
        way = "playbook" if kind == "python" else "process"
        column["the way",] = Cell(way, all(found == way for _, found, outcome in counts if outcome == "answered"))
    return column


async def _cases(running: Running, sql: Any) -> Column:
    column: Column = {}

    async def ask(method: str, path: str, body: Any = None, session: str = "") -> tuple[int, Any]:
        headers = {"authorization": f"Bearer {session}"} if session else {}
        async with running.client.request(method, running.url + path, json=body, headers=headers) as response:
            return response.status, await response.json(content_type=None)

    async def login(given: str) -> tuple[int, Any]:
        return await ask("POST", "/api/auth/login", {"auth0_token": given, "auth0_domain": DOMAIN})

    def case(name: str, found: Any, expected: Any) -> None:
        column[name,] = Cell("as expected" if found == expected else f"{found}"[:300], found == expected)

    status, body = await login(id_token(ANNA))
    assert status == 200, f"login: {status} {body}"
    session = body["session_token"]
    case(
        "login",
        (status, body["status"], body["user"]["user_id"], body["user"]["email"]),
        (200, "authenticated", 1, ANNA),
    )
    for name in ("again", "a second later, asked again"):
        me = (await ask("GET", "/api/auth/me", session=session))[1].get("user")
        wanted = {"user_id": 1, "email": ANNA, "display_name": "Anna", "roles": ["analyst"]}
        if name == "again":
            case("me", (me or {}).get("user_id"), 1)
            await asyncio.sleep(1.2)
        else:
            case("me, a second later, with the roles of NoETL", me, wanted)
    case("relay", (await ask("GET", "/noetl/health", session=session))[0], 200)
    case("unknown session", (await ask("GET", "/noetl/health", session="0" * 32))[0], 401)
    for path, kind, allowed in (
        ("team/flow", "execute", True), ("team/secret", "execute", False), ("other/flow", "execute", False),
        ("team/flow", "view", True), ("team/flow", "edit", False),
    ):  # fmt: skip
        asked = {"session_token": session, "playbook_name": path, "permission_type": kind}
        found = await ask("POST", "/api/auth/check-access", asked)
        case(f"check-access: {kind} {path}", (found[0], found[1].get("allowed")), (200, allowed))
    case("a forged token", (await login(id_token(ANNA)[:-8] + "AAAAAAAA"))[0], 401)
    case("an address that is not verified", (await login(id_token(ANNA, email_verified=False)))[0], 401)
    _, other = await login(id_token(BEN))
    sql(f"UPDATE auth.users SET is_active = false WHERE email = '{BEN}'")
    await asyncio.sleep(1.2)
    case("a user who was switched off", (await ask("GET", "/noetl/health", session=other["session_token"]))[0], 401)
    await ask("POST", "/api/auth/logout", {}, session)
    case("after logout", (await ask("GET", "/noetl/health", session=session))[0], 401)
    return column
