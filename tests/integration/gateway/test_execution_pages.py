"""Pages of the GraphQL list of executions: on both servers and both transports, while executions start and end."""

from __future__ import annotations

from base64 import urlsafe_b64decode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from mock_noetl.server import NoetlServer, build, serve
from mock_noetl.server import start as start_one
from proxy.client import AsyncClient
from proxy.noetl.execution_pages import Cursor
from tests.integration.harness import TENANT, TRANSPORTS, Running, behind_gateway, gateway_running

RULES = """
acl:
  roles: {staff: {emails: ["*@staff.test"]}}
  rules:
    - {allow: ["*"], roles: [staff], playbooks: ["**"]}
    - {allow: [view], emails: [few@seers.test], playbooks: ["my_playbook"]}
"""
QUERY = """
query ($path: String, $status: String, $first: Int, $after: String) {
  executions(path: $path, status: $status, first: $first, after: $after) { id path status cursor }
}
"""
DIALECTS = pytest.mark.parametrize("dialect", ["python", "rust"])
SLOW, QUICK = "examples/slow", "my_playbook"


@dataclass(slots=True)
class Behind:
    """A gateway before a NoETL server, with a user. `fast`: the last response came by the fast path."""

    gateway: Running
    headers: dict[str, str]
    fast: bool = False

    async def answer(self, **variables: Any) -> dict[str, Any]:
        """Return the response for a page."""
        before = self.gateway.served_fast
        sent = {"query": QUERY, "variables": variables}
        async with self.gateway.client.post(f"{self.gateway.url}/graphql", json=sent, headers=self.headers) as response:
            found: dict[str, Any] = await response.json()
        self.fast = self.gateway.served_fast > before
        return found

    async def page(self, **variables: Any) -> list[dict[str, Any]]:
        """Return a page, which is complete."""
        answer = await self.answer(**variables)
        assert answer.keys() == {"data"}, answer
        found: list[dict[str, Any]] = answer["data"]["executions"]
        return found


@asynccontextmanager
async def before_mock(
    folder: Path, dialect: str, *, fast: bool, email: str = "anna@staff.test"
) -> AsyncIterator[tuple[Behind, NoetlServer]]:
    """A gateway before the sandbox server of a dialect."""
    program = build(dialect)
    async with serve(program) as server:
        text = f"{TENANT}{RULES}upstreams: {{noetl: {{urls: ['{server.url}']}}}}\n"
        async with gateway_running(folder, text, fast=fast) as gateway:
            yield Behind(gateway, await gateway.bearer(email)), program


def start(program: NoetlServer, count: int, path: str = SLOW) -> list[str]:
    """Start executions; return their ids, newest first."""
    return [start_one(program, path, {"pace": "1m"}) for _ in range(count)][::-1]


def ids(page: list[dict[str, Any]]) -> list[str]:
    return [item["id"] for item in page]


@TRANSPORTS
@DIALECTS
async def test_pages_have_each_execution_once_while_others_start(tmp_path: Path, fast: bool, dialect: str) -> None:
    async with before_mock(tmp_path, dialect, fast=fast) as (behind, program):
        expected, found, after = start(program, 430), [], None
        while page := await behind.page(first=60, after=after):
            found += ids(page)
            after = page[-1]["cursor"]
            start(program, 45)
        assert found == expected
        assert behind.fast is fast


@TRANSPORTS
@DIALECTS
async def test_each_execution_has_the_cursor_of_what_follows(tmp_path: Path, fast: bool, dialect: str) -> None:
    async with before_mock(tmp_path, dialect, fast=fast) as (behind, program):
        expected = start(program, 12)
        page = await behind.page()
        for number, item in enumerate(page):
            assert ids(await behind.page(first=3, after=item["cursor"])) == expected[number + 1 : number + 4]


@TRANSPORTS
@DIALECTS
async def test_pages_of_a_user_who_may_view_few_playbooks_are_full(tmp_path: Path, fast: bool, dialect: str) -> None:
    async with before_mock(tmp_path, dialect, fast=fast, email="few@seers.test") as (behind, program):
        expected: list[str] = []
        for _ in range(20):
            expected = start(program, 1, QUICK) + expected
            start(program, 29)
        found, sizes, after = [], [], None
        while page := await behind.page(first=6, after=after):
            assert {item["path"] for item in page} == {QUICK}
            found += ids(page)
            sizes.append(len(page))
            after = page[-1]["cursor"]
            start(program, 1, QUICK)
        assert (found, sizes) == (expected, [6, 6, 6, 2])


@TRANSPORTS
@DIALECTS
async def test_pages_have_the_executions_that_fit(tmp_path: Path, fast: bool, dialect: str) -> None:
    async with before_mock(tmp_path, dialect, fast=fast) as (behind, program):
        expected: list[str] = []
        for _ in range(5):
            start(program, 30)
            expected = start(program, 1, "examples/failing") + expected
        wanted = {"path": "examples/failing", "first": 2}
        first = await behind.page(**wanted)
        second = await behind.page(**wanted, after=first[-1]["cursor"])
        assert ids(first) + ids(second) == expected[:4]
        running = await behind.page(path=SLOW, status="RUNNING", first=100, after=second[-1]["cursor"])
        assert {item["status"] for item in running} == {"running"}
        assert len(running) == 60


WRONG = {
    "no text": "",
    "an id": "412345678901234567",
    "not base64": "?",
    "not ASCII": "é",
    "another version": "MjoxOjA",
    "an id of 64 bits": Cursor(2**63, 0).text(),
    "padding": Cursor(10, 0).text() + "=",
    "a line break": Cursor(10, 0).text() + "\n",
    "zeros in front": "MTowMTA6MA",
}


@TRANSPORTS
@pytest.mark.parametrize("cursor", WRONG.values(), ids=WRONG)
async def test_wrong_cursor_is_bad_user_input(tmp_path: Path, fast: bool, cursor: str) -> None:
    async with behind_gateway(tmp_path, rules=RULES, fast=fast) as (gateway, upstream):
        behind = Behind(gateway, await gateway.bearer())
        (error,) = (await behind.answer(after=cursor))["errors"]
        assert (error["message"], error["extensions"]["code"]) == (
            "after must be the cursor of an execution",
            "BAD_USER_INPUT",
        )
        assert upstream.relayed == []


@TRANSPORTS
async def test_first_is_from_0_to_1000(tmp_path: Path, fast: bool) -> None:
    async with before_mock(tmp_path, "python", fast=fast) as (behind, program):
        expected = start(program, 3)
        for first in (-1, 1001, 2**31 - 1):
            (error,) = (await behind.answer(first=first))["errors"]
            assert (error["message"], error["extensions"]["code"]) == (
                "first must be from 0 to 1000",
                "BAD_USER_INPUT",
            )
        assert [ids(await behind.page(first=first)) for first in (0, 1, 1000, None)] == [
            [],
            expected[:1],
            expected,
            expected,
        ]


class Listing:
    """A server with a list that a test changes. It understands the parameters of both servers, as each of them does."""

    def __init__(self, dialect: str) -> None:
        self.dialect = dialect
        self.listed: list[tuple[int, str]] = []
        self.requests = 0

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request for a page."""
        self.requests += 1
        query = {name: int(value) for name, value in request.query.items()}
        size, skip = min(100, query["limit"]), query["offset"]
        if self.dialect == "python":
            size = min(200, query["page_size"])
            skip = (query["page"] - 1) * size
        found = self.listed[skip : skip + size]
        return web.json_response([{"execution_id": str(n), "path": path, "status": "RUNNING"} for n, path in found])


@asynccontextmanager
async def before_listing(
    folder: Path, dialect: str, *, fast: bool, email: str = "anna@staff.test"
) -> AsyncIterator[tuple[Behind, Listing]]:
    """A gateway before such a server."""
    listing = Listing(dialect)
    async with behind_gateway(folder, rules=RULES, fast=fast) as (gateway, upstream):
        upstream.answer = listing.answer
        yield Behind(gateway, await gateway.bearer(email)), listing


@TRANSPORTS
@DIALECTS
async def test_search_that_is_too_long_goes_on_after_its_cursor(tmp_path: Path, fast: bool, dialect: str) -> None:
    hidden = [(10**18 + (n << 22), SLOW) for n in range(12_000)][::-1]
    async with before_listing(tmp_path, dialect, fast=fast, email="few@seers.test") as (behind, listing):
        listing.listed = [(2 * 10**18, QUICK), *hidden, (5, QUICK), (4, QUICK)]
        answer, found, limit = await behind.answer(first=2), [], 0
        while "extensions" in answer:
            assert listing.requests == 50
            assert answer["extensions"].keys() == {"truncated", "cursor"}
            cursor = answer["extensions"]["cursor"]
            decoded = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
            assert not any(str(number) in decoded for number, _ in hidden)
            found += ids(answer["data"]["executions"])
            limit += 1
            assert limit < 4
            listing.requests = 0
            listing.listed.insert(0, (3 * 10**18 + limit, SLOW))
            answer = await behind.answer(first=2, after=cursor)
        found += ids(answer["data"]["executions"])
        assert found == [str(2 * 10**18), "5", "4"]


@TRANSPORTS
@DIALECTS
async def test_cursor_of_an_execution_that_is_not_listed_any_more(tmp_path: Path, fast: bool, dialect: str) -> None:
    async with before_listing(tmp_path, dialect, fast=fast) as (behind, listing):
        listing.listed = [(n, SLOW) for n in range(600, 0, -1)]
        page = await behind.page(first=300)
        listing.listed = [(n, SLOW) for n in range(600, 0, -1) if n % 3 or n < 200]  # 301 is there, 300 is not
        assert ids(await behind.page(first=5, after=page[-1]["cursor"])) == ["299", "298", "296", "295", "293"]
        assert ids(await behind.page(first=2, after=Cursor(300, 1).text())) == ["299", "298"]
        assert ids(await behind.page(first=2, after=Cursor(300, 999).text())) == ["299", "298"]


@TRANSPORTS
@DIALECTS
async def test_executions_follow_in_the_order_of_the_server(tmp_path: Path, fast: bool, dialect: str) -> None:
    async with before_listing(tmp_path, dialect, fast=fast) as (behind, listing):
        listing.listed = [(n ^ 1, SLOW) for n in range(900, 0, -1)]  # two that start at once, in either order
        expected, found, after = [str(n) for n, _ in listing.listed], [], None
        while page := await behind.page(first=7, after=after):
            found += ids(page)
            after = page[-1]["cursor"]
            listing.listed.insert(0, (10_000 + len(found), SLOW))
        assert found == expected


@TRANSPORTS
async def test_page_after_a_cursor_takes_few_requests(tmp_path: Path, fast: bool) -> None:
    async with before_listing(tmp_path, "python", fast=fast) as (behind, listing):
        listing.listed = [(n, SLOW) for n in range(5000, 0, -1)]
        after, most = None, 0
        for _ in range(40):
            listing.requests = 0
            page = await behind.page(first=120, after=after)
            after, most = page[-1]["cursor"], max(most, listing.requests)
        assert most == 2


@TRANSPORTS
@DIALECTS
async def test_client_library_lists_all_executions_and_events(tmp_path: Path, fast: bool, dialect: str) -> None:
    async with before_mock(tmp_path, dialect, fast=fast) as (behind, program):
        expected = start(program, 25)
        token = behind.headers["authorization"].removeprefix("Bearer ")
        async with AsyncClient(behind.gateway.url, session_token=token) as client:
            assert [item.execution_id async for item in client.executions(page_size=10)] == expected
            events = [event async for event in client.events(expected[0], page_size=1)]
        assert {"command.issued", "command.claimed"} < {event.type for event in events}
        assert all(event.at is not None and event.at.tzinfo is not None for event in events)
