"""Two signed-in users on connections that they share, and an upstream that tells each what only that user may hear.

Every request carries a mark of its own and of its user; the upstream answers with the secret of whoever `x-user-id`
names, and with what it was asked. So whatever reaches the wrong one, an answer, a part of it or an event, shows.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from tests.attack.recorder import Arrived, NotStrict, parse
from tests.integration.harness import PATIENCE
from tests.secretsearch import RUN

NAMES = ("anna", "bert")
MARK = re.compile(rb"(?:mark|ask)-(anna|bert)-[0-9a-f]+")
KINDS = (
    "echo", "echo", "echo", "post", "post", "graphql", "graphql", "run", "events", "refused", "missing", "fails",
    "breaks", "busy", "head", "leaves", "leaves",
)  # fmt: skip
CARRIERS = ("bearer", "bearer", "token", "cookie")
_EVENTS = 3


@dataclass(frozen=True, slots=True)
class Sent:
    """One request: of whom, of which kind, its own mark, and its bytes."""

    name: str
    kind: str
    ask: str
    data: bytes


@dataclass(slots=True)
class Teller:
    """The upstream. `marks` are the secrets of the users, by their id."""

    marks: Mapping[str, str]
    port: int = 0
    arrived: int = 0
    wrong: list[str] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, kept until an answer says otherwise."""
        data = b""
        with suppress(ConnectionError):
            while came := await reader.read(65536):
                data += came
                while data:
                    try:
                        found = parse(data)
                    except NotStrict as error:
                        self.wrong.append(f"{error}: {data[:200]!r}")
                        writer.close()
                        return
                    if found is None:
                        break
                    request, size = found
                    data = data[size:]
                    if not await self._answer(request, writer):
                        writer.close()
                        return
        writer.close()

    async def _answer(self, request: Arrived, writer: asyncio.StreamWriter) -> bool:
        self.arrived += 1
        user = "".join(request.values("x-user-id"))
        said = MARK.findall(request.raw)
        if user not in self.marks or any(f"-{name.decode()}-" not in self.marks[user] for name in said):
            self.wrong.append(f"as user {user}: {request.raw[:300]!r}")
        mark = self.marks.get(user, "")
        kind = request.target.split("/")[2].partition("?")[0]
        if kind == "events":
            await self._tell_events(request, writer, mark)
        elif kind == "fails":
            return False
        elif kind == "breaks":
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\n" + self._body(request, mark))
            return False
        else:
            status = b"503 Busy" if kind == "busy" else b"200 OK"
            body = self._body(request, mark)
            head = b"HTTP/1.1 %b\r\ncontent-type: application/json\r\nx-mark: %b\r\ncontent-length: %d\r\n\r\n"
            writer.write(head % (status, mark.encode(), len(body)) + (b"" if request.method == "HEAD" else body))
        return True

    async def _tell_events(self, request: Arrived, writer: asyncio.StreamWriter, mark: str) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        for number in range(_EVENTS):
            event = f"id: {number}\ndata: {mark} {request.target}\n\n".encode()
            writer.write(b"%x\r\n%b\r\n" % (len(event), event))
            await writer.drain()
            await asyncio.sleep(0)
        writer.write(b"0\r\n\r\n")

    def _body(self, request: Arrived, mark: str) -> bytes:
        asked = MARK.search(request.raw)
        told = {"mark": mark, "asked": asked[0].decode() if asked else ""}
        shape = {
            "execution_id": "101",
            "status": "RUNNING",
            "path": "open/a",
            "variables": told,
            "result": told,
            "told": told,
            "events": [{"event_id": 10**17 + 1, "event_type": "step.enter", "result": told}],
        }
        return json.dumps(shape).encode()


class Requests:
    """Makes requests of both users, of all kinds, by chance from a seed."""

    def __init__(self, seed: int, tokens: Mapping[str, str]) -> None:
        self._chance = random.Random(seed)
        self._tokens = tokens

    def next(self) -> Sent:
        """The next request."""
        name, kind = self._chance.choice(NAMES), self._chance.choice(KINDS)
        ask = f"ask-{name}-{self._chance.getrandbits(64):016x}"
        method, target, body = self._asked(kind, ask)
        lines = [f"{method} {target} HTTP/1.1", "host: gateway.test", self._carrier(name), f"x-mine: {ask}"]
        if method == "POST":
            lines += ["content-type: application/json", f"content-length: {len(body)}"]
        return Sent(name, kind, ask, "\r\n".join([*lines, "", ""]).encode() + body)

    def _asked(self, kind: str, ask: str) -> tuple[str, str, bytes]:
        if kind == "graphql":
            fields = "executionId variables result events { id result }"
            query = f"query Q($x: String!) {{ executionStatus(executionId: $x) {{ {fields} }} }}"
            document = {
                "query": query,
                "variables": {"x": str(self._chance.randrange(100, 104))},
                "operationName": None,
            }
            return "POST", "/graphql", json.dumps({**document, "extensions": {"ask": ask}}).encode()
        if kind == "run":
            query = (
                f'mutation {{ executePlaybook(name: "open/a", variables: {{ask: "{ask}"}}) {{ executionId status }} }}'
            )
            return "POST", "/graphql", json.dumps({"query": query}).encode()
        if kind == "post":
            return "POST", f"/noetl/echo/{ask}", json.dumps({"ask": ask}).encode()
        if kind == "leaves":
            kind = self._chance.choice(["echo", "events", "breaks"])
        place = {"refused": f"/noetl/secret/{ask}", "missing": f"/nowhere/{ask}", "head": f"/noetl/echo/{ask}"}
        return "HEAD" if kind == "head" else "GET", place.get(kind, f"/noetl/{kind}/{ask}?ask={ask}"), b""

    def _carrier(self, name: str) -> str:
        token = self._tokens[name]
        how = self._chance.choice(CARRIERS)
        if how == "cookie":
            return f"cookie: theme=dark; session_token={token}"
        return f"authorization: Bearer {token}" if how == "bearer" else f"x-session-token: {token}"

    def pipelined(self) -> bool:
        """Whether the next two are sent at once."""
        return self._chance.random() < 0.1

    def leaves_at_once(self) -> bool:
        """Whether a client that leaves does so before anything came."""
        return self._chance.random() < 0.5


@dataclass(slots=True)
class Report:
    """What came back: statuses by kind, and what was wrong."""

    seen: Counter[str] = field(default_factory=Counter)
    wrong: list[tuple[Sent, str]] = field(default_factory=list)


class Shared:
    """One connection that both users share, as behind a proxy; a new one where the last was closed."""

    def __init__(self, port: int, requests: Requests, marks: Mapping[str, str], report: Report) -> None:
        self._port = port
        self._requests = requests
        self._marks = marks
        self._report = report
        self._reader: asyncio.StreamReader | None = None

    async def send(self, count: int) -> None:
        """That many requests."""
        try:
            while count > 0:
                batch = [self._requests.next() for _ in range(2 if count > 1 and self._requests.pipelined() else 1)]
                count -= len(batch)
                async with asyncio.timeout(PATIENCE):
                    await self._exchange(batch)
        finally:
            self._hang_up()

    async def _exchange(self, batch: list[Sent]) -> None:
        if self._reader is None:
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        with suppress(ConnectionError):
            self._writer.write(b"".join(one.data for one in batch))
        for one in batch:
            if self._reader is None:
                self._report.seen["not answered"] += 1
            elif one.kind == "leaves":
                came = b"" if self._requests.leaves_at_once() else await self._part()
                self.note(one, 0, came, left=True)
                self._hang_up()
            else:
                await self._read(one)

    async def _part(self) -> bytes:
        assert self._reader is not None
        try:
            return await self._reader.read(65536)
        except ConnectionError:
            return b""

    async def _read(self, one: Sent) -> None:
        assert self._reader is not None
        came, status = b"", 0
        try:
            came = await self._reader.readuntil(b"\r\n\r\n")
            status = int(came[9:12])
            came += await self._body(came, head_only=one.kind == "head")
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            came += error.partial if isinstance(error, asyncio.IncompleteReadError) else b""
            status = 0
            self._hang_up()
        if b"\r\nconnection: close\r\n" in came.lower():
            self._hang_up()
        self.note(one, status, came)

    async def _body(self, head: bytes, *, head_only: bool) -> bytes:
        assert self._reader is not None
        if b"\r\ntransfer-encoding: chunked\r\n" in head.lower() and not head_only:
            data = b""
            while not data.endswith(b"\r\n0\r\n\r\n"):
                data += await self._reader.readuntil(b"\r\n")
            return data
        length = re.search(rb"\r\ncontent-length: ([0-9]+)\r\n", head, re.IGNORECASE)
        return b"" if length is None or head_only else await self._reader.readexactly(int(length[1]))

    def note(self, one: Sent, status: int, came: bytes, *, left: bool = False) -> None:
        """Whose marks came, and whether it is what was asked for."""
        self._report.seen[f"{one.kind} {'left' if left else status or 'cut'}"] += 1
        if status >= 400:
            RUN.came_out("an error's answer", came)
        others = {name.decode() for name in MARK.findall(came)} - {one.name}
        if others:
            self._report.wrong.append((one, f"{others} in {came[:500]!r}"))
        elif status == 200 and not left and one.kind != "run":
            wanted = (
                [self._marks[one.name].encode()]
                if one.kind in ("head", "graphql")
                else [self._marks[one.name].encode(), one.ask.encode()]
            )
            if not all(mark in came for mark in wanted):
                self._report.wrong.append((one, f"not its own: {came[:500]!r}"))

    def _hang_up(self) -> None:
        if self._reader is not None:
            self._writer.close()
            self._reader = None
