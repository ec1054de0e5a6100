"""Each fault, switched on at run time, as a client sees it on the wire."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from mock_server.faults import KINDS
from mock_server.messages import to_json
from mock_server.options import Options, OptionsError
from mock_server.overrides import Overrides
from mock_server.sandbox import Control

from .conftest import BODY, Client, Start

DATA = to_json(BODY)
GONE = (ConnectionRefusedError, ConnectionResetError)
"""What a client sees that connects to a port that is closed, or that closes at this moment."""


def _length(found: bytes) -> int:
    return int(found.partition(b"content-length: ")[2].partition(b"\r\n")[0])


SEEN: dict[str, tuple[Any, Callable[[bytes], bool]]] = {
    "reset_before": ("reset_before", lambda found: found == b"RESET"),
    "reset_in_head": ("reset_in_head", lambda found: found.startswith(b"HTTP/1.1") and b"\r\n\r\n" not in found),
    "reset_in_body": ("reset_in_body", lambda found: b"\r\n\r\n{" in found and found.endswith(b"RESET")),
    "reset after 3 bytes": ({"kind": "reset_in_body", "after": 3}, lambda found: found.endswith(DATA[:3] + b"RESET")),
    "empty": ("empty", lambda found: found == b""),
    "malformed_chunk": ("malformed_chunk", lambda found: b"chunked" in found and b"\r\nnot a size\r\n" in found),
    "wrong_length": ("wrong_length", lambda found: _length(found) == len(DATA) + 10 and found.endswith(DATA)),
    "too many bytes": (
        {"kind": "wrong_length", "difference": 4},
        lambda found: _length(found) == len(DATA) - 4 and found.endswith(DATA),
    ),
    "garbage": ({"kind": "garbage", "size": 99}, lambda found: len(found) == 99 and not found.startswith(b"HTTP")),
    "dribble": ({"kind": "dribble", "size": 40, "every": "10ms"}, lambda found: found.endswith(DATA)),
    "bandwidth": ({"kind": "bandwidth", "bytes_per_second": 2000}, lambda found: found.endswith(DATA)),
    "hang": ({"kind": "hang", "max": "200ms"}, lambda found: found == b"RESET"),
    "hang in_head": (
        {"kind": "hang", "where": "in_head", "max": "200ms"},
        lambda found: found.startswith(b"HTTP") and b"\r\n\r\n" not in found and found.endswith(b"RESET"),
    ),
    "hang in_body": (
        {"kind": "hang", "where": "in_body", "max": "200ms"},
        lambda found: b"\r\n\r\n{" in found and not found.endswith(DATA) and found.endswith(b"RESET"),
    ),
}


def test_every_kind_of_fault_has_a_case() -> None:
    assert {name.split()[0] for name in SEEN} >= set(KINDS) - {"wrong_length"}


@pytest.mark.parametrize("name", SEEN)
async def test_fault_is_seen_on_the_wire_as_often_as_the_rule_says(start: Start, name: str) -> None:
    client = await start()
    fault, expected = SEEN[name]
    await client.admin("POST", "/rules", {"match": {"path": "/x"}, "times": 2, "fault": fault})
    for _ in range(2):
        assert expected(await client.raw(path="/x")), name
    assert (await client.raw(path="/x")).endswith(DATA)
    assert (await client.raw(path="/x")).startswith(b"HTTP/1.1 200 OK")


@pytest.mark.parametrize(
    ("fault", "least"),
    [
        ({"kind": "dribble", "size": 100, "every": "100ms"}, 0.3),
        ({"kind": "bandwidth", "bytes_per_second": 700}, 0.3),
        ({"kind": "hang", "max": "300ms"}, 0.3),
    ],
)
async def test_slow_fault_takes_its_time(start: Start, fault: dict[str, Any], least: float) -> None:
    client = await start()
    await client.admin("POST", "/rules", {"fault": fault})
    started = time.monotonic()
    await client.raw(path="/x", timeout=10)
    assert time.monotonic() - started >= least


@pytest.mark.parametrize(
    "delay", ["150ms", {"uniform": ["150ms", "200ms"]}, {"lognormal": {"median": "1h", "sigma": 0, "max": "150ms"}}]
)
async def test_delay_comes_before_the_response(start: Start, delay: Any) -> None:
    client = await start()
    await client.admin("POST", "/rules", {"delay": delay, "times": 1})
    started = time.monotonic()
    assert (await client.http.get("/x")).json() == BODY
    assert time.monotonic() - started >= 0.14


async def test_burst_of_errors_then_the_program_again(start: Start) -> None:
    client = await start()
    rule = {
        "skip": 1,
        "times": 2,
        "response": {"status": 503, "json": {"error": "no"}, "headers": {"retry-after": "1"}},
    }
    await client.admin("POST", "/rules", rule)
    found = [await client.http.get("/x") for _ in range(4)]
    assert [response.status_code for response in found] == [200, 503, 503, 200]
    assert found[1].json() == {"error": "no"}
    assert found[1].headers["retry-after"] == "1"


@pytest.mark.parametrize("size", [0, 1, 70_000, 30_000_000])
async def test_body_of_any_size(start: Start, size: int) -> None:
    client = await start()
    await client.admin("POST", "/rules", {"response": {"size": size}})
    found = (await client.http.get("/x")).content
    assert len(found) == size
    assert all(found[place] == place % 251 for place in range(0, size, 9973))


async def test_large_body_with_a_fault(start: Start) -> None:
    client = await start()
    await client.admin("POST", "/rules", {"response": {"size": 5_000_000}, "fault": "reset_in_body"})
    with pytest.raises(httpx.ReadError):
        await client.http.get("/x")


async def test_merge_changes_members_and_overrides_reach_the_program(start: Start) -> None:
    client = await start()
    await client.admin("POST", "/rules", {"merge": {"hello": "you", "list": None, "new": {"a": 1}}, "times": 1})
    assert (await client.http.get("/x")).json() == {"hello": "you", "new": {"a": 1}}
    await client.admin("POST", "/rules", {"overrides": {"lifetime": 5}, "times": 1})
    assert (await client.http.get("/echo")).json()["overrides"] == {"lifetime": 5}
    assert (await client.http.get("/echo")).json()["overrides"] == {}


async def test_slow_accept_delays_new_connections_only(start: Start) -> None:
    client = await start()
    await client.admin("PUT", "/accept", {"delay": "300ms"})
    started = time.monotonic()
    await client.http.get("/x")
    kept = time.monotonic() - started
    await client.raw(path="/x")  # the accept that was under way
    started = time.monotonic()
    await client.raw(path="/x")
    assert time.monotonic() - started >= 0.25
    assert kept < 0.25
    await client.admin("POST", "/reset", {"what": ["rules"]})
    assert client.sandbox.listener.accept_seconds == 0.0


async def _until_open(client: Client) -> bytes:
    async with asyncio.timeout(5):
        while True:
            try:
                return await client.raw(path="/x")
            except GONE:
                await asyncio.sleep(0.02)


@pytest.mark.parametrize("lose_state", [False, True])
async def test_restart_closes_the_port_and_all_connections_for_a_while(start: Start, lose_state: bool) -> None:
    client = await start()
    await client.http.get("/x")
    _, writer = await asyncio.open_connection("127.0.0.1", client.sandbox.listener.port)
    await client.admin("POST", "/restart", {"down": "400ms", "lose_state": lose_state})
    refused = False
    async with asyncio.timeout(3):
        while not refused:
            try:
                await client.raw(path="/x")
                await asyncio.sleep(0.01)
            except GONE:
                refused = True
    found = await _until_open(client)
    assert found.endswith(DATA)
    assert client.sandbox.program.count < 3 if lose_state else client.sandbox.program.count >= 2  # type: ignore[attr-defined]
    writer.close()


async def test_reset_of_connections_is_seen_by_idle_clients(start: Start) -> None:
    client = await start()
    reader, writer = await asyncio.open_connection("127.0.0.1", client.sandbox.listener.port)
    await client.http.get("/x")
    assert (await client.admin("POST", "/connections/reset"))["reset"] == 2
    with pytest.raises(ConnectionResetError):
        await reader.read()
    writer.close()


async def test_schedule_probability_and_order_of_rules(start: Start) -> None:
    client = await start(seed="schedule")
    await client.admin("POST", "/rules", {"name": "half", "probability": 0.5, "response": {"status": 500}})
    await client.admin("POST", "/rules", {"name": "later", "from": "1h", "response": {"status": 501}})
    await client.admin("POST", "/rules", {"name": "past", "until": "1ms", "response": {"status": 502}})
    every = {"period": "1h", "for": "50m"}
    await client.admin("POST", "/rules", {"name": "now", "every": every, "times": 3, "response": {"status": 504}})
    found = [(await client.http.get("/x")).status_code for _ in range(203)]
    assert found[:3] == [504] * 3
    assert set(found[3:]) == {200, 500}
    assert 70 <= found.count(500) <= 130
    rules = {rule["name"]: rule for rule in (await client.admin("GET", "/rules"))["rules"]}
    assert rules["now"]["applied"] == 3
    assert rules["half"]["applied"] == found.count(500)
    assert rules["half"]["seen"] == 200


async def test_scenario_goes_from_state_to_state(start: Start) -> None:
    client = await start()
    scenario = {"name": "outage"}
    for rule in (
        {"scenario": {**scenario, "next": "down"}, "match": {"path": "/break"}},
        {"scenario": {**scenario, "state": "down"}, "match": {"path": "/x"}, "response": {"status": 503}},
        {"scenario": {**scenario, "state": "down", "next": "start"}, "match": {"path": "/mend"}},
    ):
        await client.admin("POST", "/rules", rule)
    found = [(await client.http.get(path)).status_code for path in ("/x", "/break", "/x", "/x", "/mend", "/x")]
    assert found == [200, 200, 503, 503, 200, 200]
    await client.admin("PUT", "/scenarios/outage", {"state": "down"})
    assert (await client.http.get("/x")).status_code == 503
    assert await client.admin("GET", "/scenarios") == {"scenarios": {"outage": "down"}}


async def test_rules_of_the_start_work_without_the_control_plane(start: Start) -> None:
    from mock_server.rules_file import parse_rule

    rule = parse_rule("{match: {path: /x, method: GET}, response: {status: 418, text: teapot}}", "--fault 1")
    client = await start(Control(rules=(rule,)))
    response = await client.http.get("/x")
    assert (response.status_code, response.text) == (418, "teapot")
    assert (await client.http.get("/__admin/rules")).json() == BODY


async def test_match_by_query_headers_and_body(start: Start) -> None:
    client = await start()
    match = {
        "method": ["POST", "PUT"], "path": "/a/*/c", "query": {"q": "x*"}, "headers": {"x-user": "*", "x-no": None},
        "body": {"user": {"name": "ann"}}, "body_contains": "ann",
    }  # fmt: skip
    await client.admin("POST", "/rules", {"match": match, "response": {"status": 499}})
    good: dict[str, Any] = {
        "url": "/a/b/c?q=xy", "headers": {"x-user": "1"}, "json": {"user": {"name": "ann", "age": 3}, "more": 1},
    }  # fmt: skip
    assert (await client.http.post(**good)).status_code == 499
    changes: tuple[dict[str, Any], ...] = (
        {"url": "/a/b/d/c?q=xy"}, {"url": "/a/b/c?q=y"}, {"url": "/a/b/c"}, {"headers": {}},
        {"headers": {"x-user": "1", "x-no": "1"}}, {"json": {"user": {"name": "bob ann"}}}, {"json": [1]},
    )  # fmt: skip
    for change in changes:
        assert (await client.http.post(**{**good, **change})).status_code == 200, change
    assert (await client.http.get(good["url"], headers=good["headers"])).status_code == 200
    form = {"match": {"body": {"grant_type": "password"}}, "response": {"status": 498}}
    await client.admin("POST", "/rules", form)
    assert (await client.http.post("/oauth", data={"grant_type": "password"})).status_code == 498
    assert (await client.http.post("/oauth", data={"grant_type": "code"})).status_code == 200


def test_scripted_bodies() -> None:
    from mock_server.rules import Scripted

    assert Scripted.model_validate({"json": None}).body == b"null"
    assert Scripted.model_validate({"json": {"a": 1}}).content_type == "application/json"
    assert Scripted.model_validate({"base64": "AAH/"}).body == b"\x00\x01\xff"
    assert Scripted.model_validate({}).body == b""
    assert json.loads(Scripted.model_validate({"text": '{"a":1}'}).body) == {"a": 1}


async def test_listener_faults_of_the_start_slow_accepts_and_restart_by_schedule(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "faults.yaml"
    path.write_text("listener: {accept: 100ms, restart: {at: 300ms, down: 200ms, every: 1s}}\n")
    client = await start(Options(faults=path, admin=True).control(Overrides("echo")))
    assert client.sandbox.listener.accept_seconds == 0.1
    refused = 0
    async with asyncio.timeout(10):
        while refused < 2:
            try:
                await client.raw(path="/x")
            except GONE:
                refused += 1
                assert (await _until_open(client)).endswith((DATA, b"RESET"))


@pytest.mark.parametrize(
    ("text", "problem"),
    [("{accept: soon}", "accept: a duration"), ("{restart: {down: 1s}}", "restart.at: is missing"),
     ("{", "not YAML"), ("{restart: {at: 1s, every: 0s}}", "restart.every: must be above 0"),
     ("3", "must be a mapping")],
)  # fmt: skip
def test_wrong_listener_faults_are_refused(text: str, problem: str) -> None:
    with pytest.raises(OptionsError, match="--listener-faults: ") as caught:
        Options(listener_faults=text).control(Overrides("echo"))
    assert problem in str(caught.value)
