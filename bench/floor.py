"""The least that a gateway in Python must do for a request: `bench/floor.py UPSTREAM_PORT PORT TOKENS ACCESS_LOG`.

It does every kind of work of the gateway's fast path: it parses the head, looks the session up, takes from a rate
limit, applies a rule, rewrites header fields, writes an access line, and counts. It has nothing that a successful
request does not need: chunked bodies, deadlines, retries, TLS, CORS. Parsed blocks of header fields and decisions are
cached; the session and the limit are checked for each request.
"""

from __future__ import annotations

import asyncio
import bisect
import functools
import json
import os
import re
import sys
import time
import types
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import uvloop

UPSTREAM_PORT, PORT, TOKENS, ACCESS_LOG = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), sys.argv[4]
RATE, CACHED, CONNECTIONS, FLUSH_SECONDS = 1e6, 4096, 128, 0.05
BOUNDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5]
TARGET = re.compile(rb"/noetl(/[A-Za-z0-9_\-~/.=]*)(\?[!-~]*)?")
EXECUTION = re.compile(rb"/executions/(\d{1,19})(?:/(status|events|cancel|rerun))?")
BLOCK = re.compile(rb"(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[^\r\n\0]*\r\n)+")
SELECTION = re.compile(r"\)\s*\{([^{}]*)\}\s*\}")
NOT_FORWARDED = frozenset(
    b"host connection authorization x-session-token x-user-id x-user-email x-user-roles keep-alive te trailer via "
    b"transfer-encoding upgrade forwarded x-forwarded-for x-forwarded-host x-forwarded-proto content-length".split()
)
NOT_RETURNED = frozenset((b"connection", b"keep-alive", b"transfer-encoding", b"server"))
WORDS, MISSING = {False: "running", True: "completed"}, {"completed_steps": [], "cancelled": False}
Operation = tuple[str, list[tuple[str, Callable[[dict[str, Any]], Any]]]]
ACCESS = b'{"time":%.3f,"id":"%b","line":"%b","status":%b,"ms":%.2f,"user":%d}\n'
EMAIL, PLAYBOOK, ID_PREFIX = "dev@example.com", "data_pipeline/transform_data", os.urandom(8).hex().encode()


class Session:
    """A session with its rate limit, its cached decisions, and its user as bytes for upstream and client."""

    def __init__(self, user_id: int) -> None:
        self.user_id, self.role, self.expires_at = user_id, b"developer", time.time() + 8 * 3600
        self.allowance, self.refilled_at = RATE, time.monotonic()
        self.identity = f"x-user-id: {user_id}\r\nx-user-email: {EMAIL}\r\nx-user-roles: developer\r\n".encode()
        document = {"user_id": user_id, "email": EMAIL, "display_name": "Dev Name", "roles": ["developer"]}
        self.user = b'"user":%b,"expires_at":"2099-11-26T17:54:27.309151+00:00"' % json.dumps(document).encode()


class Fields:
    """A block of header fields, parsed: the session, the length of the body, and the fields for upstream."""

    def __init__(self, block: bytes) -> None:
        self.valid = BLOCK.fullmatch(block + b"\r\n") is not None
        pairs = [(name.lower(), value.strip()) for name, _, value in (x.partition(b":") for x in block.split(b"\r\n"))]
        fields = dict(pairs)
        self.session = SESSIONS.get(fields.get(b"authorization", b"").removeprefix(b"Bearer "))
        self.length, self.request_id = int(fields.get(b"content-length", b"0")), fields.get(b"x-request-id", b"")
        self.upstream = (
            b"host: 127.0.0.1\r\n%bx-forwarded-for: 127.0.0.1\r\nx-forwarded-proto: http\r\nx-forwarded-host: %b\r\n"
            b"forwarded: for=127.0.0.1;proto=http\r\nvia: 1.1 floor\r\n%b%b"
        ) % (
            b"".join(b"%b: %b\r\n" % pair for pair in pairs if pair[0] not in NOT_FORWARDED),
            fields.get(b"host", b""),
            self.session.identity if self.session else b"",
            b"content-length: %d\r\n" % self.length if self.length else b"",
        )


@functools.lru_cache(CACHED)
def parse_response(block: bytes) -> tuple[bytes, int]:
    """Return the fields for the client and the length of the body."""
    fields = {name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in block.split(b"\r\n"))}
    lines = b"".join(b"%b: %b\r\n" % field for field in fields.items() if field[0] not in NOT_RETURNED)
    more = b"cache-control: no-store\r\nx-content-type-options: nosniff\r\nvia: 1.1 floor\r\n"
    return lines + more, int(fields.get(b"content-length", b"0"))


@functools.lru_cache(CACHED)
def compile_operation(query: str) -> Operation:
    """Return the field and its members. A stand-in: a gateway parses and validates each query text once."""
    selection = SELECTION.search(query)
    name = "executePlaybook" if "executePlaybook" in query else "executionStatus"
    return name, [(member, member_of(member)) for member in (selection[1] if selection else "").split()]


def member_of(name: str) -> Callable[[dict[str, Any]], Any]:
    """Return the function that finds a member in the upstream's response."""
    if name == "status":
        return lambda found: "failed" if found.get("failed") else WORDS[found.get("completed", False)]
    key = "path" if name == "name" else re.sub("[A-Z]", lambda letter: "_" + letter[0].lower(), name)
    return lambda found: found.get(key, MISSING.get(key))


@functools.lru_cache(CACHED)
def may(session: Session, playbook: bytes, action: bytes) -> bool:
    """Return whether the rules allow it."""
    return session.role == b"developer" and not playbook.startswith(b"system/")


SESSIONS = {line: Session(number) for number, line in enumerate(TOKENS.read_bytes().split(), 1)}
PLAYBOOKS: dict[bytes, str] = {}
IDLE: list[UpstreamConnection] = []
NOWHERE = cast(asyncio.Transport, types.SimpleNamespace(write=lambda data: None))
parse_fields = functools.lru_cache(CACHED)(Fields)
HISTOGRAM, STATUSES, ACCESS_LINES = [0] * (len(BOUNDS) + 1), Counter[bytes](), list[bytes]()


class Rejected(Exception):
    """The request is rejected with this status."""


class UpstreamConnection(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.buffer, self.missing = b"", 0

    def send(self, client: ClientConnection, request: bytes) -> None:
        self.client = client
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        client = self.client
        if self.missing:
            client.transport.write(data)
            self.end_of(client, self.missing - len(data))
            return
        data, self.buffer = self.buffer + data, b""
        head_end, line_end = data.find(b"\r\n\r\n"), data.find(b"\r\n")
        if head_end < 0:
            self.buffer = data
            return
        block, body = data[line_end + 2 : head_end], data[head_end + 4 :]
        fields, length = parse_response(block)
        client.status = data[9:12]
        if client.operation is not None:
            if len(body) < length:
                self.buffer = data
                return
            name, members = client.operation
            found = {**json.loads(body), "path": client.playbook}
            client.write_json(json.dumps({"data": {name: {key: get(found) for key, get in members}}}).encode())
        else:
            head = b"%b\r\n%bx-request-id: %b\r\n\r\n" % (data[:line_end], fields, client.request_id)
            client.transport.write(head + body)
        self.end_of(client, length - len(body))

    def end_of(self, client: ClientConnection, missing: int) -> None:
        self.missing = missing
        if not missing:
            IDLE.append(self)
            client.finish()


class ClientConnection(asyncio.Protocol):
    """A client's connection, with one request at a time."""

    count = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.buffer, self.busy = b"", False
        self.operation: Operation | None = None

    def connection_lost(self, error: Exception | None) -> None:
        self.transport = NOWHERE

    def data_received(self, data: bytes) -> None:
        data = self.buffer + data
        head_end, line_end = data.find(b"\r\n\r\n"), data.find(b"\r\n")
        if self.busy or head_end < 0:
            self.buffer = data
            return
        block, body = data[line_end + 2 : head_end], data[head_end + 4 :]
        fields = parse_fields(block)
        if len(body) < fields.length:
            self.buffer = data
            return
        body, self.buffer = body[: fields.length], body[fields.length :]
        ClientConnection.count += 1
        self.started, self.line, self.session = time.monotonic(), data[:line_end], fields.session
        self.operation, self.request_id = None, fields.request_id or b"%b%08x" % (ID_PREFIX, self.count)
        try:
            self.route(fields, body)
        except Rejected as rejected:
            self.status = rejected.args[0][:3]
            self.transport.write(b"HTTP/1.1 %b\r\ncontent-length: 0\r\n\r\n" % rejected.args[0])
            self.finish()

    def route(self, fields: Fields, body: bytes) -> None:
        method, _, target = self.line.removesuffix(b" HTTP/1.1").partition(b" ")
        if target == b"/api/auth/validate":
            self.validate(body)
        elif target.startswith(b"/noetl/"):
            self.relay(self.admitted(), method, target, fields, body)
        elif target == b"/graphql":
            self.graphql(self.admitted(), body)
        elif target == b"/api/auth/me":
            self.write_json(b"{%b}" % self.admitted().user)
        else:
            raise Rejected(b"404 Not Found")

    def admitted(self) -> Session:
        """Return the session, valid and within its rate limit. Raises Rejected."""
        session = self.session
        if session is None or session.expires_at < time.time():
            raise Rejected(b"401 Unauthorized")
        session.allowance = min(RATE, session.allowance + (self.started - session.refilled_at) * RATE) - 1
        session.refilled_at = self.started
        if session.allowance < 0:
            raise Rejected(b"429 Too Many Requests")
        return session

    def relay(self, session: Session, method: bytes, target: bytes, fields: Fields, body: bytes) -> None:
        plain = TARGET.fullmatch(target)
        if plain is None or b"//" in target or b"/." in target or not fields.valid:
            raise Rejected(b"400 Bad Request")
        path, query = plain[1], plain[2] or b""
        playbook, action = path, b"path"
        if (execution := EXECUTION.fullmatch(path)) is not None:
            playbook = PLAYBOOKS.setdefault(execution[1], PLAYBOOK).encode()
            action = b"execute" if execution[2] in (b"cancel", b"rerun") else b"view"
        elif path == b"/execute":
            playbook, action = json.loads(body)["path"].encode(), b"execute"
        self.send(
            may(session, playbook, action),
            b"%b /api%b%b HTTP/1.1\r\n%bx-request-id: %b\r\ntraceparent: 00-%b%.8b-%b-01\r\n\r\n%b"
            % (method, path, query, fields.upstream, *3 * (self.request_id,), self.request_id[:16], body),
        )

    def validate(self, body: bytes) -> None:
        self.session = session = SESSIONS.get(json.loads(body)["session_token"].encode())
        if session is None or session.expires_at < time.time():
            self.write_json(b'{"valid":false,"user":null,"expires_at":null,"message":"Session is invalid or expired"}')
        else:
            self.write_json(b'{"valid":true,%b,"message":"Session is valid"}' % session.user)

    def graphql(self, session: Session, body: bytes) -> None:
        request = json.loads(body)
        self.operation, variables = compile_operation(request["query"]), request["variables"]
        fields = b" HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n%bx-request-id: %b\r\n"
        fields %= session.identity, self.request_id
        if execute := self.operation[0] == "executePlaybook":
            self.playbook = variables["name"]
            start = json.dumps({"path": self.playbook, "workload": variables.get("variables") or {}}).encode()
            head = b"POST /api/execute%bcontent-length: %d\r\n\r\n%b" % (fields, len(start), start)
        else:
            self.playbook = PLAYBOOKS.setdefault(variables["id"].encode(), PLAYBOOK)
            head = b"GET /api/executions/%b/status%b\r\n" % (variables["id"].encode(), fields)
        self.send(may(session, self.playbook.encode(), b"execute" if execute else b"view"), head)

    def send(self, allowed: bool, request: bytes) -> None:
        if not allowed or not IDLE:
            raise Rejected(b"503 Service Unavailable" if allowed else b"403 Forbidden")
        self.busy = True
        IDLE.pop().send(self, request)

    def write_json(self, body: bytes) -> None:
        self.status = b"200"
        self.transport.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncache-control: no-store\r\nx-request-id: %b\r\n"
            b"content-length: %d\r\n\r\n%b" % (self.request_id, len(body), body)
        )
        if not self.busy:
            self.finish()

    def finish(self) -> None:
        """Count the request, write its access line, and continue with what was received meanwhile."""
        seconds = time.monotonic() - self.started
        HISTOGRAM[bisect.bisect_left(BOUNDS, seconds)] += 1
        STATUSES[self.status] += 1
        user, milliseconds = self.session.user_id if self.session else 0, seconds * 1000
        ACCESS_LINES.append(ACCESS % (time.time(), self.request_id, self.line, self.status, milliseconds, user))
        self.busy = False
        if self.buffer:
            self.data_received(b"")


async def main() -> None:
    """Serve until the process is ended."""
    loop = asyncio.get_running_loop()
    for _ in range(CONNECTIONS):
        _, connection = await loop.create_connection(UpstreamConnection, "127.0.0.1", UPSTREAM_PORT)
        IDLE.append(connection)
    server = await loop.create_server(ClientConnection, "127.0.0.1", PORT, backlog=4096)
    file = os.open(ACCESS_LOG, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    while server.is_serving():
        await asyncio.sleep(FLUSH_SECONDS)
        os.write(file, b"".join(ACCESS_LINES))
        ACCESS_LINES.clear()


uvloop.run(main())
