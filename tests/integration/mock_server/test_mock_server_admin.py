"""The control plane: journal, clock, reset, the OpenAPI document, the page, who may call it, and errors."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import httpx
import pytest

from mock_server.operations import AdminError, Call, Operation
from mock_server.sandbox import Control

from .conftest import Echo, Start, running


async def test_journal_lists_counts_and_verifies(start: Start) -> None:
    client = await start()
    await client.http.get("/x?b=1", headers={"x-request-id": "r1"})
    await client.http.post("/echo", json={"a": 1})
    await client.http.get("/fail")
    listed = await client.admin("GET", "/journal")
    assert [(e["number"], e["method"], e["path"], e["status"]) for e in listed["entries"]] == [
        (1, "GET", "/x", 200), (2, "POST", "/echo", 200), (3, "GET", "/fail", 500),
    ]  # fmt: skip
    assert listed["entries"][0]["query"] == "b=1"
    assert ["x-request-id", "r1"] in listed["entries"][0]["headers"]
    assert listed["entries"][1]["body"] == '{"a":1}'
    assert (await client.admin("GET", "/journal?method=POST"))["matched"] == 1
    assert (await client.admin("GET", "/journal?path=/f*&status=500&after=1"))["entries"][0]["number"] == 3
    assert (await client.admin("GET", "/journal?limit=1"))["matched"] == 3
    assert (await client.admin("GET", "/journal/counts"))["counts"] == {
        "GET /x 200": 1, "POST /echo 200": 1, "GET /fail 500": 1,
    }  # fmt: skip
    assert (await client.admin("GET", "/journal/counts?method=GET&status=200"))["counts"] == {"GET /x 200": 1}
    assert (await client.admin("GET", "/journal/counts?path=/e*&after=1"))["counts"] == {"POST /echo 200": 1}
    assert await client.admin("POST", "/journal/verify", {"match": {"body": {"a": 1}}, "exactly": 1}) == {
        "verified": True,
        "count": 1,
    }
    wrong = await client.http.post("/__admin/journal/verify", json={"match": {"path": "/x"}, "at_least": 2})
    assert wrong.status_code == 409
    assert wrong.json()["error"].startswith("1 requests matched, expected at least 2")
    assert (await client.http.post("/__admin/journal/verify", json={"match": {"path": "/no"}})).status_code == 409
    await client.admin("DELETE", "/journal")
    assert (await client.admin("GET", "/journal"))["total"] == 0


async def test_journal_is_searched_for_any_path_as_it_was_sent(start: Start) -> None:
    client = await start()
    await client.raw(path="/api/h%65alth")
    match = {"match": {"path": "/api/h%65alth"}, "exactly": 1}
    assert (await client.admin("POST", "/journal/verify", match))["count"] == 1


async def test_journal_masks_credentials_and_keeps_equal_ones_equal(start: Start) -> None:
    client = await start()
    secret, token = "hunter2-secret", "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl"
    headers = {"authorization": f"Bearer {secret}", "cookie": f"session={secret}", "x-session-token": secret}
    await client.http.post("/echo?code=" + secret, headers=headers, json={"password": secret, "deep": [{"t": token}]})
    await client.http.post("/echo", data={"refresh_token": secret, "grant_type": "refresh_token"})
    text = (await client.http.get("/__admin/journal")).text
    assert secret not in text
    assert token not in text
    entries = json.loads(text)["entries"]
    fields = dict(entries[0]["headers"])
    mask = fields["authorization"].removeprefix("Bearer ")
    assert re.fullmatch(r"<masked:[0-9a-f]{12}>", mask)
    assert fields["x-session-token"] == mask
    assert json.loads(entries[0]["body"])["password"] == mask
    assert entries[0]["query"] == f"code={mask}"
    assert entries[1]["body"] == f"refresh_token={mask}&grant_type=refresh_token"


async def test_journal_is_bounded_in_number_and_bytes(start: Start) -> None:
    client = await start(Control(admin=True, journal=5))
    for _ in range(9):
        await client.http.get("/x")
    listed = await client.admin("GET", "/journal")
    assert [entry["number"] for entry in listed["entries"]] == [5, 6, 7, 8, 9]
    from mock_server.journal import Journal
    from mock_server.messages import Request

    journal = Journal(1000, 100_000)
    for _ in range(100):
        journal.add(0.0, Request("POST", "/x", body=b"a" * 10_000))
    assert len(journal) == 9


async def test_clock_is_moved_stopped_and_reset(start: Start) -> None:
    client = await start()
    assert (await client.admin("PUT", "/clock", {"stop": True, "set": "2030-01-01T00:00:00Z"}))["stopped"] is True
    response = await client.http.get("/random")
    assert response.json()["at"] == 1893456000.0
    assert response.headers["date"] == "Tue, 01 Jan 2030 00:00:00 GMT"
    await client.admin("PUT", "/clock", {"move": 3600})
    assert (await client.admin("GET", "/clock"))["now"] == "2030-01-01T01:00:00+00:00"
    assert (await client.http.put("/__admin/clock", json={"move": 1e12})).status_code == 400
    assert (await client.admin("PUT", "/clock", {"stop": False}))["stopped"] is False
    await client.admin("POST", "/reset", {"what": ["clock"]})
    assert abs((await client.admin("GET", "/clock"))["offset_seconds"]) < 1


async def test_two_runs_with_one_seed_have_the_same_journal() -> None:
    async def run(seed: str | None) -> Any:
        async with running(seed=seed) as sandbox, httpx.AsyncClient(base_url=sandbox.url) as http:
            await http.put("/__admin/clock", json={"stop": True, "set": "2030-01-01T00:00:00Z"})
            await http.post("/__admin/rules", json={"probability": 0.5, "response": {"status": 503}})
            for _ in range(20):
                await http.get("/random", headers={"host": "x"})
            return (await http.get("/__admin/journal?timing=false")).json()

    first = await run("a")
    assert first == await run("a")
    assert {entry["status"] for entry in first["entries"]} == {200, 503}
    assert first != await run("b")
    assert first != await run(None)


async def test_reset_returns_to_the_start(start: Start) -> None:
    from mock_server.rules_file import parse_rule

    rule = parse_rule("{name: first, times: 1, response: {status: 500}}", "--fault 1")
    client = await start(Control(admin=True, rules=(rule,)))
    assert [(await client.http.get("/x")).status_code for _ in range(2)] == [500, 200]
    await client.admin("DELETE", "/rules/first")
    await client.admin("POST", "/rules", {"name": "second", "delay": "1ms"})
    await client.admin("POST", "/reset", {})
    assert [rule["name"] for rule in (await client.admin("GET", "/rules"))["rules"]] == ["first"]
    assert (await client.admin("GET", "/status"))["journal"]["total"] == 0
    assert client.sandbox.program.count == 0  # type: ignore[attr-defined]
    assert [(await client.http.get("/x")).status_code for _ in range(2)] == [500, 200]


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ({}, "a rule needs an effect: delay, response, merge, overrides, fault or scenario"),
        ({"fault": "explode"}, "fault: unknown kind explode (known: bandwidth, dribble"),
        ({"delay": "soon"}, "delay: a duration is a number with ms, s, m or h behind it, such as 200ms"),
        ({"delay": "1s", "typo": 1}, "typo: unknown key (known: delay, every, fault, from"),
        ({"delay": "1s", "match": {"paths": "/x"}}, "match.paths: unknown key (known: body, body_contains, headers"),
        ({"response": {"json": {}, "text": ""}}, "response: a response has one body: give one of text, json"),
        ({"response": {"status": 99}}, "response.status: must be at least 200"),
        ({"response": {"headers": {"a": "b\r\nc: d"}}}, "response.headers.a: must be one line of Latin-1 characters"),
        ({"delay": "1s", "from": "2s", "until": "1s"}, "until must be after from"),
        ({"delay": "1s", "every": {"period": "1s", "for": "2s"}}, "every: for must be above 0, and not longer than"),
        ({"delay": "1s", "probability": 2}, "probability: must be at most 1"),
        ({"response": {"headers": {"Content-Length": "3"}}}, "response: the framing follows from the body"),
        ({"delay": "1s", "match": {"path": "api/x"}}, "match.path: must begin with a slash, or with **"),
        ({"delay": "1s", "match": {"path": "*.json"}}, "match.path: must begin with a slash, or with **"),
        ({"delay": "1s", "match": {"path": "/x?a=1"}}, "match.path: must be a path only; query is for parameters"),
        ({"delay": "1s", "match": {"path": "/ä b"}}, "match.path: must be a path as it is sent"),
        ({"delay": "1s", "match": {"path": "/api/h%65alth"}}, "match.path: %65 matches no usual request: write e"),
        ({"delay": "1s", "match": {"path": "/a%2"}}, "match.path: % must be followed by two hexadecimal digits"),
        ({"delay": "1s", "match": {"method": "PSOT"}}, "match.method[0]: unknown method PSOT (known: CONNECT, DELETE"),
        ({"delay": "1s", "match": {"headers": {"a b": "x"}}}, "match.headers.a b: must be a name of a header field"),
        ({"delay": "1s", "match": {"body_contains": "\ud800"}}, "match.body_contains: must be Unicode text"),
        ({"response": {"text": "\ud800"}}, "response.text: must be Unicode text; a lone surrogate can't be sent"),
        ({"response": {"headers": {"a": "1 \u20ac"}}}, "response.headers.a: must be one line of Latin-1 characters"),
        ({"response": {"headers": {"": "1"}}}, "response.headers.: must be a name of a header field"),
        ({"response": {"base64": "x"}}, "response.base64: must be bytes in base64"),
        ({"overrides": {"lifetme": 5}}, "overrides.lifetme: unknown key (known: lifetime; did you mean"),
        ({"overrides": {"lifetime": "x"}}, "overrides.lifetime: must be a whole number"),
        ({"match": {"path": "/x"}, "overrides": {"lifetime": 1}}, "match.path: echo has overrides for /echo only"),
        ({"response": {}, "merge": {}}, "merge and overrides change the program's response"),
    ],
)  # fmt: skip
async def test_wrong_rule_is_refused_with_its_place(start: Start, rule: dict[str, Any], text: str) -> None:
    client = await start()
    headers = {"content-type": "application/json"}
    response = await client.http.post("/__admin/rules", content=json.dumps(rule), headers=headers)
    assert response.status_code == 400
    assert text in response.json()["error"]
    assert (await client.admin("GET", "/rules")) == {"rules": []}


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "text"),
    [
        ("GET", "/no", b"", 404, "there is no such operation"),
        ("PATCH", "/rules", b"", 405, "PATCH is not supported here: GET, POST, DELETE"),
        ("POST", "/rules", b"{", 400, "the body is not JSON"),
        ("POST", "/rules", b"[" * 100_000, 400, "the body is not JSON"),
        ("POST", "/rules", b"3", 400, "must be a mapping"),
        ("DELETE", "/rules/no", b"", 404, "there is no rule of this name"),
        ("GET", "/journal?limit=x", b"", 400, "limit: must be a whole number"),
        ("GET", "/journal?path=oauth/*", b"", 400, "path: must begin with a slash"),
        ("GET", "/journal?method=GTE", b"", 400, "method: unknown method GTE"),
        ("PUT", "/scenarios/no", b'{"state": "start"}', 404, "no rule has the scenario no"),
        ("GET", "/journal?limits=1", b"", 400, "limits: unknown key (known: after, limit, method"),
        ("GET", "/journal?limit=1&limit=2", b"", 400, "limit: is given twice"),
        ("GET", "/journal/counts?foo=1", b"", 400, "foo: unknown key (known: after, method, path, rule, status)"),
        ("GET", "/rules?foo=1", b"", 400, "foo: unknown parameter: this operation has no query"),
        ("GET", "/status?foo", b"", 400, "foo: unknown parameter"),
        ("POST", "/reset?foo=1", b"{}", 400, "foo: unknown parameter"),
        ("DELETE", "/rules?name=x", b"", 400, "name: unknown parameter"),
        ("POST", "/journal/verify", b'{"at_least": 1, "at_most": 0}', 400, "at_least 1 and at_most 0 contradict"),
        ("POST", "/journal/verify", b'{"at_least": 2, "exactly": 1}', 400, "at_least 2 and exactly 1 contradict"),
        ("POST", "/journal/verify", b'{"at_most": 2, "exactly": 3}', 400, "exactly 3 and at_most 2 contradict"),
        ("POST", "/rules", b'{"delay": "99999999999s"}', 400, "delay: a duration is at most 3600 seconds"),
    ],
)
async def test_wrong_call_is_refused(start: Start, method: str, path: str, body: bytes, status: int, text: str) -> None:
    client = await start()
    headers = {"content-type": "application/json"}
    response = await client.http.request(method, f"/__admin{path}", content=body, headers=headers)
    assert response.status_code == status
    assert text in response.json()["error"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"host": "localhost:8085"}, 200),
        ({"host": "a.localhost"}, 200),
        ({"host": "[::1]:80"}, 200),
        ({"host": "evil.example"}, 403),
        ({"host": "127.0.0.1.evil.example:80"}, 403),
        ({"host": ""}, 403),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://localhost:3000", "host": "localhost:8085"}, 403),
        ({"origin": "http://localhost:8085", "host": "localhost:8085"}, 200),
    ],
)
async def test_pages_of_other_origins_and_other_names_are_refused(
    start: Start, headers: dict[str, str], status: int
) -> None:
    client = await start()
    response = await client.http.post("/__admin/reset", json={}, headers=headers)
    assert response.status_code == status
    simple = {**headers, "content-type": "text/plain"}
    assert (await client.http.post("/__admin/reset", content=b"{}", headers=simple)).status_code in {403, 415}


async def test_other_addresses_are_refused_unless_remote(start: Start) -> None:
    from mock_server.admin import Admin
    from mock_server.messages import Request

    for remote, status in ((False, 403), (True, 200)):
        client = await start(Control(admin=True, remote=remote))
        request = Request("GET", "/__admin/status", ((b"host", b"10.0.0.1"),), peer="10.1.2.3")
        assert (await Admin(client.sandbox).respond(request)).status == status


async def test_openapi_document_names_every_operation_and_is_complete(start: Start) -> None:
    client = await start()
    document = await client.admin("GET", "/openapi.json")
    found = {(m.upper(), path) for path, methods in document["paths"].items() for m in methods}
    from mock_server.admin import Admin

    assert found == {(o.method, o.path) for o in Admin(client.sandbox).operations}
    text = json.dumps(document)
    for reference in set(re.findall(r"#/components/schemas/(\w+)", text)):
        assert reference in document["components"]["schemas"]
    rule = document["components"]["schemas"]["Rule"]["properties"]
    assert {"match", "probability", "times", "from", "until", "every", "delay", "response", "fault"} <= set(rule)


async def test_page_loads_its_own_files_only(start: Start) -> None:
    client = await start()
    response = await client.http.get("/__admin")
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert "script-src 'self'" in response.headers["content-security-policy"]
    assert "{{" not in response.text
    for path in re.findall(r'(?:href|src)="(/__admin/[^"]+)"', response.text):
        assert (await client.http.get(path)).status_code == 200
    assert (await client.http.get("/__admin/../secret")).status_code != 500


async def test_programs_add_operations() -> None:
    async def double(call: Call) -> Any:
        await asyncio.sleep(0)
        if call.names["number"] == "0":
            raise AdminError(409, "not zero")
        return {"value": 2 * int(call.names["number"])}

    from mock_server.sandbox import Sandbox

    program = Echo(operations=(Operation("POST", "/double/{number}", "Double a number.", double),))
    sandbox = program.sandbox = Sandbox(program, Control(admin=True))
    await sandbox.start()
    async with httpx.AsyncClient(base_url=sandbox.url) as http:
        assert (await http.post("/__admin/double/21")).json() == {"value": 42}
        assert (await http.post("/__admin/double/0")).status_code == 409
        assert "/double/{number}" in (await http.get("/__admin/openapi.json")).json()["paths"]
    await sandbox.stop()
