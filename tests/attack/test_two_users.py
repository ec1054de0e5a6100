"""Nothing that is meant for one user reaches another: answers, events, lines of the logs."""

from __future__ import annotations

import asyncio
import io
import json
import secrets
import sys
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from proxy.exchange import Exchange
from proxy.observe import logs
from proxy.policy import denials
from tests.attack.table import Tally
from tests.attack.two_users import MARK, NAMES, Report, Requests, Sent, Shared, Teller
from tests.integration.harness import TENANT, Running, gateway_running
from tests.secretsearch import RUN

REQUESTS = 10_000
CONNECTIONS = 25
CONFIG = """
acl:
  roles: {staff: {emails: ["*@staff.test"]}}
  rules:
    - {allow: ["*"], roles: [staff], paths: ["/noetl/**"]}
    - {deny: ["*"], roles: [staff], paths: ["/noetl/secret/**"]}
    - {allow: ["*"], roles: [staff], playbooks: ["open/**"]}
sessions: {cookie: {enabled: true}}
audit: {file: audit.log}
logging: {format: json}
upstreams: {noetl: {urls: ['UPSTREAM'], circuit: false}}
"""


@asynccontextmanager
async def telling(marks: dict[str, str]) -> AsyncIterator[Teller]:
    """The upstream, on a free port."""
    teller = Teller(marks)
    server = await asyncio.start_server(teller.serve, "127.0.0.1", 0)
    teller.port = server.sockets[0].getsockname()[1]
    try:
        yield teller
    finally:
        server.close()


def lines_of_another(lines: Iterable[str], ids: dict[str, int]) -> tuple[int, list[str]]:
    """How many lines hold a mark of a user's, and those that name another, or hold marks of both.

    A line may name nobody: where a request was answered before it was asked whose it is.
    """
    held, wrong = 0, []
    for line in lines:
        names = {name.decode() for name in MARK.findall(line.encode())}
        if names:
            held += 1
            told = json.loads(line).get("user_id")
            if len(names) > 1 or told not in (None, *(ids[name] for name in names)):
                wrong.append(line)
    return held, wrong


async def sent(
    gateway: Running, requests: Requests, marks: dict[str, str], report: Report, count: int = REQUESTS
) -> int:
    """Send all requests on shared connections; return how many of them the fast path served."""
    shared = [Shared(gateway.port, requests, marks, report) for _ in range(CONNECTIONS)]
    async with asyncio.TaskGroup() as group:
        for one in shared:
            group.create_task(one.send(count // CONNECTIONS))
    return gateway.served_fast


async def test_nothing_of_one_user_reaches_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tally: Callable[[str], Tally], show: Callable[[str], None]
) -> None:
    told, report = io.StringIO(), Report()
    monkeypatch.setattr(denials, "EACH", replace(denials.EACH, burst=REQUESTS))
    monkeypatch.setattr(sys, "stderr", told)
    logs.configure("json", "info")
    marks = {name: f"mark-{name}-{secrets.token_hex(16)}" for name in NAMES}
    with tally("two users") as counts:
        async with telling({str(number): marks[name] for number, name in enumerate(NAMES, 1)}) as teller:
            text = (TENANT + CONFIG).replace("UPSTREAM", f"http://127.0.0.1:{teller.port}")
            async with gateway_running(tmp_path, text) as gateway:
                tokens = {name: await gateway.session(f"{name}@staff.test") for name in NAMES}
                fast = await sent(gateway, Requests(secrets.randbits(32), tokens), marks, report)
        for kind, count in report.seen.items():
            for _ in range(count):
                counts.count(kind, refused=not kind.endswith(" 200"))
        for one, why in report.wrong:
            counts.count(f"{one.kind} of {one.name}", refused=False, surprise=why)
        RUN.came_out("the log", told.getvalue())
        RUN.came_out("the audit log", (tmp_path / "audit.log").read_bytes())
        ids = {name: number for number, name in enumerate(NAMES, 1)}
        held, others = lines_of_another(told.getvalue().splitlines(), ids)
        audited, others_audited = lines_of_another((tmp_path / "audit.log").read_text().splitlines(), ids)
        counts.check("lines of the log", not others, others[:3], refused=False)
        counts.check("lines of the audit log", not others_audited, others_audited[:3], refused=False)
        counts.check("requests upstream", not teller.wrong, teller.wrong[:3], refused=False)
    assert sum(report.seen.values()) == REQUESTS
    enough(report, fast, held, audited)
    show(
        f"two users: {REQUESTS} requests on {CONNECTIONS} shared connections, {fast} on the fast path, "
        f"{teller.arrived} upstream, {held} lines of the log and {audited} of the audit log with marks: 0 crossed"
    )


def enough(report: Report, fast: int, held: int, audited: int) -> None:
    """Both transports had their part, and every kind of answer was among them."""
    assert REQUESTS // 5 < fast < REQUESTS - REQUESTS // 20
    assert held > REQUESTS // 2
    assert audited > REQUESTS // 50
    wanted = (
        "echo 200", "post 200", "graphql 200", "run 200", "events 200", "head 200", "refused 403", "missing 404",
        "fails 502", "breaks cut", "busy 503", "leaves left",
    )  # fmt: skip
    assert {kind: report.seen[kind] for kind in wanted if report.seen[kind] < 100} == {}


def test_a_mark_in_a_line_of_another_is_found() -> None:
    ids = {"anna": 1, "bert": 2}
    good = '{"user_id": 1, "path": "/a/ask-anna-00"}'
    crossed = '{"user_id": 1, "path": "/a/ask-bert-00"}'
    nobody = '{"user_id": null, "detail": "mark-bert-00"}'
    both = '{"user_id": 2, "path": "/ask-bert-00?ask-anna-00"}'
    assert lines_of_another([good, "{}", crossed, nobody, both], ids) == (4, [crossed, both])


async def test_a_gateway_that_takes_all_users_for_one_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Exchange, "identity", lambda _: b"x-user-id: 1\r\n")
    report, marks = Report(), {name: f"mark-{name}-00" for name in NAMES}
    async with telling({str(number): marks[name] for number, name in enumerate(NAMES, 1)}) as teller:
        text = (TENANT + CONFIG).replace("UPSTREAM", f"http://127.0.0.1:{teller.port}")
        async with gateway_running(tmp_path, text) as gateway:
            tokens = {name: await gateway.session(f"{name}@staff.test") for name in NAMES}
            await sent(gateway, Requests(1, tokens), marks, report, count=250)
    assert {one.name for one, _ in report.wrong} == {"bert"}
    assert len(teller.wrong) > 50


async def test_an_answer_of_another_is_found() -> None:
    marks = {"anna": "mark-anna-00", "bert": "mark-bert-00"}
    report = Report()
    shared = Shared(0, Requests(1, {}), marks, report)
    one = Sent("anna", "echo", "ask-anna-01", b"")
    for body in (b"mark-anna-00 ask-anna-01", b"mark-bert-00 ask-anna-01", b"mark-anna-00 ask-anna-02", b""):
        shared.note(one, 200, body)
    assert [why.partition(":")[0] for _, why in report.wrong] == [
        "{'bert'} in b'mark-bert-00 ask-anna-01'",
        "not its own",
        "not its own",
    ]
