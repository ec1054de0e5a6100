# ruff: noqa: E501 - data in lines
"""Bytes of a client's, through a whole gateway without sockets: its parser, both transports, the rules, the upstream's side.

Input: how to cut (one byte), whether an upstream connection is warm (one byte), then what the client sends, where
`TOKEN` stands for the session. However it is cut, the same requests arrive, each one that the rules allow, told as the
user's; what comes back is one strict answer after another.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import cast

from structlog.testing import capture_logs

from proxy.config.compile import compile_config
from proxy.config.load import load
from proxy.http.credentials import key_of
from proxy.server.connection import ClientConnection
from proxy.server.serving import Serving
from proxy.sessions.memory import MemoryStore
from proxy.sessions.store import Identity, new_session, new_token
from tests.attack import smuggling, test_paths, ways
from tests.attack.battle import SearchedLog
from tests.attack.noetl import runs, says
from tests.attack.recorder import Arrived
from tests.fuzz.memory import Loop, Upstream, Wire, pieces
from tests.fuzz.strict import read_answers
from tests.integration.harness import TENANT, answered

MAX_SIZE = 4096
WORDS = (
    "GET /noetl/things HTTP/1.1\r\n", "host: gateway.test\r\n", "authorization: Bearer TOKEN\r\n", "content-length: ", "transfer-encoding: chunked\r\n",
    "connection: close\r\n", "expect: 100-continue\r\n", "HEAD ", "POST ", "OPTIONS ", "/noetl/execute", "/noetl/secret/", "/graphql", "x-user-id: 666\r\n", "\r\n\r\n",
    '{"path": "secret/b"}', "0\r\n\r\n", "%2e", "..", "upgrade: websocket\r\n", "cookie: session_token=TOKEN\r\n", "x-session-token: TOKEN\r\n",
)  # fmt: skip
RULES = """
acl:
  roles: {staff: {emails: ["*@staff.test"]}}
  rules:
    - {allow: ["*"], roles: [staff], paths: ["/noetl/**"]}
    - {deny: ["*"], roles: [staff], paths: ["/noetl/secret", "/noetl/secret/**"]}
    - {allow: ["*"], roles: [staff], playbooks: ["open/**"]}
    - {deny: ["*"], roles: [staff], playbooks: ["open/secret/**"]}
"""
MORE = """
sessions: {cookie: {enabled: true}}
upstreams: {noetl: {urls: ['http://noetl.test:80'], retries: false}}
"""
_MAY_RUN = re.compile(r"open(/(?!secret(/|$)).*)?", re.DOTALL)
_LOOKED_UP = re.compile(r"/api/(catalog/(list|resource)|executions/[0-9]+(/status)?)(\?|$)")
"""What the gateway itself asks for, and remembers."""
_CARRIERS = re.compile(rb"\n(?:authorization: Bearer |x-session-token: |cookie: session_token=)TOKEN(?=[\r;])")
"""Where a session may be that no log line and no answer tells."""
WARM = b"GET /noetl/warm HTTP/1.1\r\nhost: gateway.test\r\nauthorization: Bearer TOKEN\r\n\r\n"


@dataclass(frozen=True)
class Seen:
    """What became of an input, as far as it must not depend on how it is cut."""

    arrived: tuple[tuple[str, str, bytes], ...]
    statuses: tuple[int, ...]
    malformed: bool

    def agrees(self, cut: Seen) -> bool:
        """Return whether the same came of the same bytes, cut. A body whose malformed part comes later may be a request
        that was refused for something else before, or the whole of one whose connection closes behind it."""
        if self.malformed or cut.malformed:
            return self.arrived == cut.arrived and self._but_last == cut._but_last
        return cut == self

    @property
    def _but_last(self) -> tuple[int, tuple[int, ...]]:
        return len(self.statuses), self.statuses[:-1]


class World:
    """A gateway, its upstream, and one signed-in user."""

    def __init__(self) -> None:
        self.upstream = Upstream(says)
        self.loop = Loop(self.upstream)
        self.told = SearchedLog()
        self._folder = tempfile.TemporaryDirectory(prefix="noetl-edge-fuzz-")
        file = Path(self._folder.name) / "gateway.yaml"
        file.write_text(TENANT + RULES + MORE)
        self.token = new_token()
        self.serving: Serving = self.loop.run_until_complete(self._start(file))

    async def _start(self, file: Path) -> Serving:
        serving = Serving(compile_config(load(file, {})), MemoryStore(), log=self.told)
        server, key = serving.current, key_of(self.token)
        assert key is not None
        who = Identity("http://localhost:1/", "anna", "anna@staff.test", "anna", "localhost", {"email_verified": True})
        session = new_session(key, who, now=1e9, lifetime=1e10, ip="127.0.0.1", user_agent="fuzz")
        await server.gateway.store.create(key, session.with_last_use(1e11), max_per_user=0)
        return serving

    def send(self, data: bytes, cut: int, *, warm: bool) -> tuple[Seen, list[Arrived]]:
        """Send bytes on one connection, and see that what came of them is in order."""
        before = self.serving.limits.malformed
        with capture_logs() as logged:
            came = self.loop.run_until_complete(self._send(data.replace(b"TOKEN", self.token.encode()), cut, warm))
        assert not self.loop.failures, self.loop.failures
        assert not [line for line in logged if line["event"] in ("request.failed", "graphql.error")], logged
        if data.count(b"TOKEN") == len(_CARRIERS.findall(data)):
            assert self.token.encode() not in came, came
            assert self.token not in repr((logged, self.told.lines)), (logged, self.told.lines)
        statuses = read_answers(came, [(line.method, line.status) for line in answered(self.told.lines)])
        assert 500 not in statuses, came[:300]
        seen = tuple((o.method, o.target, o.body) for o in self.upstream.arrived if not _LOOKED_UP.match(o.target))
        malformed = self.serving.limits.malformed > before
        return Seen(seen, tuple(statuses), malformed), list(self.upstream.arrived)

    async def _send(self, data: bytes, cut: int, warm: bool) -> bytes:
        self.loop.failures.clear()
        self.upstream.hang_up()
        await self.loop.settled()
        if warm:
            await self._talk([WARM.replace(b"TOKEN", self.token.encode())])
        self.upstream.arrived.clear()
        self.upstream.violations.clear()
        self.told.lines.clear()
        return await self._talk(pieces(data, cut))

    async def _talk(self, parts: list[bytes]) -> bytes:
        came = bytearray()
        connection = cast(ClientConnection, self.serving.listener())
        wire = Wire(connection, came.extend)
        connection.connection_made(wire)
        for part in parts:
            await self.loop.settled()
            if wire.is_closing() or wire.paused:
                break
            connection.data_received(part)
        await self.loop.settled()
        wire.close()
        await self.loop.settled()
        return bytes(came)


@cache
def world() -> World:
    """The gateway; it is made once."""
    return World()


def run(data: bytes) -> None:
    """Raise AssertionError where the gateway does not do as it must."""
    if len(data) < 3:
        return
    here = world()
    warm, text = bool(data[1] & 1), data[2:]
    whole, arrived = here.send(text, 0, warm=warm)
    check(here.upstream, arrived, signed_in=b"TOKEN" in text)
    if data[0]:
        parts, arrived = here.send(text, data[0], warm=warm)
        check(here.upstream, arrived, signed_in=b"TOKEN" in text)
        assert whole.agrees(parts), f"cut: {parts}\nwhole: {whole}"


def check(upstream: Upstream, arrived: list[Arrived], *, signed_in: bool) -> None:
    """What arrived is strict, is the user's, and is what the rules allow, read naively."""
    assert not upstream.violations, upstream.violations
    assert signed_in or not arrived, f"without a session: {arrived[0].raw!r}"
    for one in arrived:
        assert one.values("x-user-id") == ["1"], one.raw
        assert one.values("x-user-email") == ["anna@staff.test"], one.raw
        assert one.values("x-user-roles") == ["staff"], one.raw
        assert one.values("x-forwarded-for") == ["127.0.0.1"], one.raw
        assert not one.values("authorization"), one.raw
        segments = test_paths.read_by_a_server(one.target)
        assert segments[:1] == ["api"], one.target
        assert segments[1:2] != ["secret"], one.target
        assert all(_MAY_RUN.fullmatch(name) and ".." not in name.split("/") for name in runs(one)), one.raw


def seeds() -> Iterator[bytes]:
    """Everything that the attack corpora send."""
    for payload in smuggling.payloads():
        if len(payload.data) < MAX_SIZE - 2:
            yield b"\x05\x01" + payload.data
    for path in (*test_paths.REFUSED, *test_paths.SENT):
        head = f"GET {path} HTTP/1.1\r\nhost: gateway.test\r\nauthorization: Bearer TOKEN\r\n\r\n"
        yield b"\x00\x01" + head.encode("latin-1")
    for shape in ways.SHAPES.values():
        for name in ("open/a", "secret/b"):
            yield b"\x03\x00" + shape(name)
    for body in ways.bodies("secret/b", "open/a", 2):
        yield b"\x02\x00" + ways.http("POST", "/noetl/execute", body)
    for path in ways.EXECUTE:
        yield b"\x04\x01" + ways.http("POST", f"/noetl{path}", json.dumps({"path": "open/a"}).encode())
