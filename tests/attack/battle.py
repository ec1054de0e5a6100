"""A gateway before a recording upstream, an attacker and a victim who share a connection, and what each got."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from proxy.observe.access import AccessLine, AccessLog
from proxy.observe.exposition import exposition
from tests.attack.recorder import Recorder, recording
from tests.integration.harness import FAST, RULES, TENANT, KeptLog, Running, gateway_running
from tests.secretsearch import RUN

LIMITS = "limits: {header_timeout: 0.4s, body_timeout: 0.4s, idle_timeout: 5s}"
VICTIM = (
    b"GET /noetl/victim HTTP/1.1\r\nhost: gateway.test\r\nauthorization: Bearer VICTIM\r\nconnection: close\r\n\r\n"
)
_WAIT = 0.05
_PATIENCE = 5.0


class SearchedLog(KeptLog):
    """An access log that keeps its lines, which are searched for secrets."""

    def write(self, line: AccessLine) -> None:
        """Keep a line."""
        super().write(line)
        RUN.came_out("a line of the access log", repr(line))


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer of the gateway's. `arrived` is what the upstream says it answers."""

    status: int
    arrived: str
    fields: list[tuple[str, str]]
    body: bytes


@dataclass(slots=True)
class Outcome:
    """What became of a payload."""

    answers: list[Answer] = field(default_factory=list)
    rest: bytes = b""

    @property
    def statuses(self) -> str:
        """The statuses of the answers, in their order."""
        return " ".join(str(answer.status) for answer in self.answers) or "closed"


@dataclass(slots=True)
class Battle:
    """The parties. Sessions are the attacker's and the victim's; both are of staff."""

    gateway: Running
    upstream: Recorder
    told: SearchedLog
    attacker: str
    victim: str
    _fast_before: int = 0

    async def warm(self) -> None:
        """See that an upstream connection is there to be used."""
        await self.gateway.raw(VICTIM.replace(b"VICTIM", self.victim.encode()))
        self.forget()

    def forget(self) -> None:
        """Begin anew."""
        self.upstream.clear()
        self.told.lines.clear()
        self._fast_before = self.gateway.served_fast

    @property
    def served_fast(self) -> int:
        """How many requests the fast path has served since the last `forget`."""
        return self.gateway.served_fast - self._fast_before

    async def send(self, data: bytes, *, victim: bool = True) -> Outcome:
        """Send bytes of the attacker's, then, on the same connection, a request of the victim's; all that came back."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.gateway.port)
        came = b""
        with suppress(ConnectionError):
            writer.write(data.replace(b"Bearer TOKEN", b"Bearer " + self.attacker.encode()))
            with suppress(TimeoutError):
                async with asyncio.timeout(_WAIT):
                    came += await reader.read(65536)
            if victim:
                writer.write(VICTIM.replace(b"VICTIM", self.victim.encode()))
            async with asyncio.timeout(_PATIENCE):
                while part := await reader.read(65536):
                    came += part
        writer.close()
        outcome = answers(came, head_only=data.startswith(b"HEAD "))
        for answer in outcome.answers:
            if answer.status >= 400:
                RUN.came_out("an error's answer", repr(answer))
        return outcome


def answers(data: bytes, *, head_only: bool = False) -> Outcome:
    """The answers in what came back, by a strict parser; interim ones are left out."""
    outcome = Outcome()
    while data:
        end = data.find(b"\r\n\r\n")
        first = re.match(rb"HTTP/1\.[01] ([0-9]{3}) [ -~]*\r\n", data)
        if end < 0 or first is None:
            break
        status = int(first[1])
        lines = data[:end].decode("latin-1").split("\r\n")[1:]
        fields = [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]
        known = dict(fields)
        malformed = status == 400 and known.get("connection") == "close"  # what can't be parsed has no method
        bodiless = head_only and not malformed
        size = 0 if bodiless or status in (204, 304) else int(known.get("content-length", "0"))
        if status >= 200:
            body = data[end + 4 : end + 4 + size]
            outcome.answers.append(Answer(status, known.get("x-arrived", ""), fields, body))
            head_only = False
        data = data[end + 4 + (size if status >= 200 else 0) :]
    outcome.rest = data
    return outcome


@asynccontextmanager
async def battle(
    folder: Path,
    *,
    server: str = LIMITS,
    rules: str = RULES,
    more: str = "",
    tenant: str = TENANT,
    own_log: bool = True,
    fast: bool = FAST,
) -> AsyncIterator[Battle]:
    """A gateway before a recording upstream. Without `own_log` its access log is the process's."""
    async with recording() as upstream:
        text = f"server: {{{server}}}\n{tenant}{rules}{more}".replace("UPSTREAM", f"http://127.0.0.1:{upstream.port}")
        if "upstreams:" not in more:
            text += f"\nupstreams: {{noetl: {{urls: ['http://127.0.0.1:{upstream.port}']}}}}\n"
        told = SearchedLog()
        log: AccessLog | None = told if own_log else None
        async with gateway_running(folder, text, fast=fast, log=log) as gateway:
            attacker, victim = await gateway.session("attacker@staff.test"), await gateway.session("victim@staff.test")
            yield Battle(gateway, upstream, told, attacker, victim)
            RUN.came_out("the metrics", exposition(gateway.serving.process.measures.all(gateway.server.gateway)))
