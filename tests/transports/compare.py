# ruff: noqa: E501 - data in lines
"""One configuration and its requests at a gateway with the fast path and at one without, and what differs.

Compared are the bytes of responses, the requests upstream, the access lines, and the counters; without what differs by
nature: times, ids that the gateway makes, and whether a body whose length is known goes out in chunks.
"""

from __future__ import annotations

import asyncio
import re
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from proxy.observe.access import AccessLine
from proxy.observe.exposition import exposition
from tests.attack.recorder import Arrived, Recorder
from tests.integration.harness import FAST, STREAMING, KeptLog, Running, gateway_running
from tests.integration.raw import Got, Wire
from tests.transports.configurations import Configuration, configuration
from tests.transports.requests import requests

USERS = {"anna": "anna@staff.test", "root": "root@staff.test", "eve": "eve@other.test"}
TOKENS = {name: f"{number:032x}" for number, name in enumerate(USERS, 0xA11CE)}
_DATE = b"Sun, 06 Nov 1994 08:49:37 GMT"
_MADE = re.compile(rb"^[0-9a-f]{32}$")
_MADE_ID = re.compile(rb'"request_id": ?"[0-9a-f]{32}"')
_TIME = re.compile(rb'"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.+]+"')
_SESSION_ID = re.compile(rb'"id":"[0-9a-f]{16,}"')
_MADE_LINES = re.compile(rb"(x-request-id: )[0-9a-f]{32}(?=\r)|(traceparent: 00-)[0-9a-f]{32}-[0-9a-f]{16}-00(?=\r)")
_NUMBER = re.compile(rb"[0-9.]+")
_CHANGING = (b"retry-after", b"ratelimit", b"server-timing")
_SECONDS = re.compile(r"\b[0-9.]+ s\b")
_PATIENCE = 10.0
_STAYS_OPEN = b"the connection stays open behind `connection: close`"


def answer(request: Arrived) -> bytes | None:
    """What an upstream answers: the same to the same request. None closes the connection without a response."""
    path = request.target.partition("?")[0].lower()
    kind = path.rpartition("/answer/")[2] if "/answer/" in path else ""
    if kind == "reset":
        return None
    if kind in _ANSWERS:
        head_only = request.method == "HEAD"
        head, end, body = _ANSWERS[kind].rpartition(b"\r\n\r\n") if head_only and kind != "chunked" else (b"", b"", b"")
        return head + end if head else _ANSWERS[kind]
    status, text = _noetl(request, path)
    body = b"" if request.method == "HEAD" else text
    head = b"HTTP/1.1 %d Said\r\nContent-Type: application/json\r\nx-arrived: %b\r\n" % (
        status,
        request.method.encode(),
    )
    return b"%bcontent-length: %d\r\n\r\n%b" % (head, len(text), body)


def _noetl(request: Arrived, path: str) -> tuple[int, bytes]:
    """What NoETL answers to a request of its API."""
    parts = [part for part in path.split("/") if part]
    if parts[:2] == ["api", "executions"] and len(parts) > 2:
        found = {"100": b"team/flow", "200": b"secret/flow", "600": b"shared"}.get(parts[2])
        if found is None:
            return 404, b'{"detail":"Execution not found"}'
        if parts[3:] == ["status"]:
            return 200, b'{"current_step":"a","completed_steps":["s"],"failed":false,"completed":false,"variables":{}}'
        if parts[3:] == ["rerun"]:
            return 200, b'{"execution_id":"101","status":"started"}'
        return 200, b'{"path":"%b","status":"COMPLETED","result":{"ok":1},"workload":{}}' % found
    if parts == ["api", "execute"]:
        return 200, b'{"execution_id":"100","status":"started"}'
    if parts == ["api", "catalog", "list"]:
        return 200, b'{"entries":[{"path":"team/flow","catalog_id":5},{"path":"secret/flow","catalog_id":7}]}'
    if parts == ["api", "catalog", "resource"]:
        secret = b'"7"' in request.body
        return 200, b'{"path":"%b","catalog_id":%b,"version":3}' % (
            (b"secret/flow", b"7") if secret else (b"team/x", b"5")
        )
    return 200, b'{"target":"%b","body":%d}' % (request.target.encode(), len(request.body))


def _plain(lines: bytes, body: bytes = b"ok") -> bytes:
    return b"HTTP/1.1 200 OK\r\n%bcontent-length: %d\r\n\r\n%b" % (lines, len(body), body)


_ANSWERS: dict[str, bytes] = {
    **{
        status: b"HTTP/1.1 %b Some\r\nX-Removed: 1\r\ncontent-length: 2\r\n\r\n{}" % status.encode()
        for status in ("404", "500", "502", "503", "504")
    },
    "302": b"HTTP/1.1 302 Found\r\nLocation: /api/things?x\r\nContent-Location: /elsewhere\r\ncontent-length: 0\r\n\r\n",
    "304": b'HTTP/1.1 304 Not Modified\r\nEtag: "a"\r\n\r\n',
    "204": b"HTTP/1.1 204 No Content\r\nX-A: 1\r\n\r\n",
    "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nx-removed: 1\r\n\r\n2\r\nok\r\n0\r\nx-trailer: 1\r\n\r\n",
    "close": _plain(b"Connection: close\r\n"),
    "cookie": _plain(b"Set-Cookie: session_token=1; path=/\r\nset-cookie: sid=2\r\nSet-Cookie: a=3\r\n"),
    "dated": _plain(b"Date: " + _DATE + b"\r\nServer: up/1\r\n"),
    "vary": _plain(b"Vary: accept\r\nvary: Origin, Authorization\r\n"),
    "sniffed": _plain(b"X-Content-Type-Options: none\r\nvary: *\r\n"),
    "hop": _plain(b"Connection: x-hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nproxy-authenticate: x\r\nx-kept: 1\r\n"),
    "latin": b"HTTP/1.1 200 Tr\xe8s\r\nContent-Disposition: attachment; filename=\xe4\xff\r\ncontent-length: 2\r\n\r\nok",
    "long": _plain(b"X-Long: " + b"a" * 3000 + b"\r\n", b"x" * 20_000),
    "cors": _plain(b"Access-Control-Allow-Origin: *\r\naccess-control-expose-headers: x\r\nX-Request-Id: up\r\n"),
    "cached": _plain(b"Cache-Control: max-age=5\r\nEtag: x\r\n"),
    "odd": _plain(b"X-Odd : 1\r\nx-empty:\r\n"),
    "early": b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + _plain(b""),
    "ended": b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: text/plain\r\n\r\nuntil closed",
    "garbage": b"nonsense\r\n\r\n",
}
_CLOSING = ("close", "ended", "garbage")


class Scripted(Recorder):
    """An upstream that gives the scripted answers. `order` is shared by the urls of one upstream."""

    def __init__(self, name: str, order: list[tuple[str, Arrived]]) -> None:
        super().__init__()
        self.name = name
        self.order = order

    def reply(self, request: Arrived) -> bytes | None:
        """Note the request, and answer it."""
        self.order.append((self.name, request))
        self.keep = not request.target.partition("?")[0].endswith(_CLOSING)
        return answer(request)


@dataclass
class Seen:
    """What a gateway did, for each request: the response, what went upstream, its lines; and its counters."""

    responses: list[object] = field(default_factory=list)
    upstream: list[list[tuple[str, bytes]]] = field(default_factory=list)
    lines: list[list[tuple[object, ...]]] = field(default_factory=list)
    counters: list[str] = field(default_factory=list)
    served_fast: int = 0


@dataclass(frozen=True)
class Difference:
    """The first difference of a run."""

    seed: int
    number: int
    request: bytes
    what: str
    fast: object
    streaming: object
    text: str

    def __str__(self) -> str:
        return (
            f"seed {self.seed}, request {self.number}: {self.what}\n{self.request!r}\n"
            f"fast:      {self.fast!r}\nstreaming: {self.streaming!r}"
        )


@asynccontextmanager
async def upstreams(count: int) -> AsyncIterator[tuple[list[Scripted], list[tuple[str, Arrived]]]]:
    """Upstreams on free ports, for both gateways."""
    order: list[tuple[str, Arrived]] = []
    async with AsyncExitStack() as stack:
        made = []
        for number in range(count):
            one = Scripted(f"url {number}", order)
            server = await asyncio.start_server(one.serve, "127.0.0.1", 0)
            one.port = server.sockets[0].getsockname()[1]
            stack.callback(one.hang_up)
            stack.callback(server.close)
            made.append(one)
        yield made, order


async def compared(
    seed: int, count: int, *, broken: Callable[[], AbstractContextManager[object]] = nullcontext
) -> tuple[Difference | None, Seen]:
    """Return the first difference of a configuration, and what the gateway with the fast path did.

    `broken` is a context in which that gateway runs, for rules that are broken on purpose.
    """
    chance = Random(seed)
    chosen = configuration(chance)
    sent = requests(chance, count, failing=chosen.urls == 1)
    async with upstreams(chosen.urls) as (urls, order):
        text = chosen.text
        for number, url in enumerate(urls):
            text = text.replace(f"URL{number}", f"'http://127.0.0.1:{url.port}'")
        with tempfile.TemporaryDirectory(prefix="noetl-edge-transports-") as folder:
            with broken():
                fast = await _run(Path(folder), text, chosen, sent, urls, order, fast=FAST)
            streaming = await _run(Path(folder), text, chosen, sent, urls, order, fast=STREAMING)
    return _difference(seed, sent, fast, streaming, text), fast


def _difference(seed: int, sent: list[bytes], fast: Seen, streaming: Seen, text: str) -> Difference | None:
    parts: list[tuple[str, Sequence[object], Sequence[object]]] = [
        ("responses", fast.responses, streaming.responses),
        ("requests upstream", fast.upstream, streaming.upstream),
        ("access lines", fast.lines, streaming.lines),
    ]
    for number, request in enumerate(sent):
        for what, one, other in parts:
            if one[number] != other[number]:
                return Difference(seed, number, request, what, one[number], other[number], text)
            if "Internal server error" in str(one[number]):
                return Difference(seed, number, request, "an internal error on both", one[number], other[number], text)
            if _STAYS_OPEN.decode() in str(one[number]):
                return Difference(seed, number, request, "open on both", one[number], other[number], text)
    if fast.counters != streaming.counters:
        only, others = set(fast.counters) - set(streaming.counters), set(streaming.counters) - set(fast.counters)
        return Difference(seed, len(sent), b"", "counters", sorted(only), sorted(others), text)
    return None


async def _run(
    folder: Path,
    text: str,
    chosen: Configuration,
    sent: list[bytes],
    urls: list[Scripted],
    order: list[tuple[str, Arrived]],
    *,
    fast: bool,
) -> Seen:
    seen, log = Seen(), KeptLog()
    async with gateway_running(folder, text, fast=fast, log=log) as gateway:
        for name, email in USERS.items():
            await gateway.session(email, token=TOKENS[name])
        client, cuts = _Client(gateway), Random(sum(map(len, sent)))
        for request in sent:
            order.clear()
            log.lines.clear()
            seen.responses.append(await client.ask(_filled(request, chosen.own_cookie), cuts))
            await _logged(log)
            seen.upstream.append([(name, _sent(arrived)) for name, arrived in order])
            seen.lines.append([_line(line) for line in log.lines])
        client.close()
        counters = exposition(gateway.serving.process.measures.all(gateway.server.gateway)).decode()
        seen.counters = [line for line in counters.splitlines() if _counts(line)]
        seen.served_fast = gateway.served_fast
    for url in urls:
        url.hang_up()
        url.clear()
    return seen


async def _logged(log: KeptLog) -> None:
    """Let the line of a request be written that is written behind its response."""
    for _ in range(20):
        if log.lines:
            return
        await asyncio.sleep(0)


def _filled(request: bytes, cookie: str) -> bytes:
    for name, token in TOKENS.items():
        request = request.replace(f"<{name}>".encode(), token.encode())
        padded = b'"session_token": "%b"' % name.encode()
        if padded in request and b"transfer-encoding" not in request:
            head, end, body = request.partition(b"\r\n\r\n")
            before = len(body)
            body = body.replace(padded, b'"session_token": "%b"' % token.encode())
            request = head.replace(b"content-length: %d" % before, b"content-length: %d" % len(body)) + end + body
    return request.replace(b"NAME=", cookie.encode() + b"=")


class _Client:
    """A client that keeps its connection as long as the gateway does."""

    def __init__(self, gateway: Running) -> None:
        self._gateway = gateway
        self._wire: Wire | None = None

    async def ask(self, request: bytes, cuts: Random) -> object:
        """Send a request, sometimes in two pieces; return what is compared of the response."""
        cut = cuts.randrange(len(request)) if cuts.random() < 0.15 else 0
        if self._wire is None:
            self._wire = Wire(*await asyncio.open_connection("127.0.0.1", self._gateway.port))
        try:
            async with asyncio.timeout(_PATIENCE):
                if cut:
                    await self._wire.send(request[:cut])
                    for _ in range(5):
                        await asyncio.sleep(0)
                await self._wire.send(request[cut:])
                got = await self._wire.response(head_only=request.startswith(b"HEAD "))
                interim = []
                while got.status < 200:
                    interim.append(got.start)
                    got = await self._wire.response(head_only=request.startswith(b"HEAD "))
        except (asyncio.IncompleteReadError, ConnectionError):
            self.close()
            return "closed"
        except TimeoutError:
            self.close()
            return "nothing came"
        if got.closes:
            try:
                rest = await self._wire.rest()
            except TimeoutError:
                rest = _STAYS_OPEN
            self.close()
            return (interim, _response(got), _stable(rest))
        return (interim, _response(got), b"")

    def close(self) -> None:
        """Close the connection."""
        if self._wire is not None:
            self._wire.close()
            self._wire = None


def _response(got: Got) -> tuple[object, ...]:
    fields = []
    for name, value in got.fields:
        if name in (b"content-length", b"transfer-encoding"):
            continue
        if (name == b"date" and value not in (_DATE, b"set")) or (name == b"x-request-id" and _MADE.match(value)):
            value = b"made"
        elif name in _CHANGING:
            value = _NUMBER.sub(b"0", value)
        fields.append((name, value))
    return got.start, fields, _stable(got.body)


def _stable(body: bytes) -> bytes:
    body = _MADE_ID.sub(b'"request_id":"made"', body)
    return _SESSION_ID.sub(b'"id":"made"', _TIME.sub(b'"then"', body)) if b'"' in body else body


def _sent(arrived: Arrived) -> bytes:
    return _MADE_LINES.sub(lambda found: (found[1] or found[2]) + b"made", arrived.raw)


def _line(line: AccessLine) -> tuple[object, ...]:
    method, path, route, status, _, _, user_id, ip, request_id, detail, denied = line
    given = "made" if _MADE.match(request_id.encode()) else request_id
    return method, path, route, status, user_id, ip, given, _SECONDS.sub("0 s", detail), denied


def _counts(line: str) -> bool:
    name = line.partition("{")[0].partition(" ")[0]
    return name.endswith(("_total", "_count")) and not name.startswith("process_")
