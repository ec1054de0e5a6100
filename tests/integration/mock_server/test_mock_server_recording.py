"""Recording a real server, replaying it without the server, and what is not in the file."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from mock_server.clock import Clock
from mock_server.messages import Request, Response
from mock_server.options import Options, OptionsError
from mock_server.overrides import Overrides
from mock_server.recording import Player, Recorder, RecordingError
from mock_server.sandbox import Control

from .conftest import BODY, Start, running

TOKEN = "a-real-access-token"


async def _record(start: Start, path: Path) -> None:
    real = await start(Control(rules=()))
    recorder = Options(record=real.sandbox.url, recording=path).backend(real.sandbox.program.respond)
    assert isinstance(recorder, Recorder)
    client = await start(backend=recorder.respond)
    headers = {"authorization": f"Bearer {TOKEN}"}
    assert (await client.http.get("/x", headers=headers)).json() == BODY
    assert (await client.http.post("/echo?a=1&code=" + TOKEN, json={"n": 1, "password": TOKEN})).status_code == 200
    await client.http.get("/random")
    await client.http.get("/random")
    assert (await client.http.get("/nothing")).status_code == 204
    assert (await client.http.get("/parts")).text == "part 0\npart 1\npart 2\n"
    await recorder.close()


async def test_recorded_responses_are_replayed_without_the_server(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "recording.jsonl"
    await _record(start, path)
    text = path.read_text()
    assert TOKEN not in text
    assert len(text.splitlines()) == 6
    client = await start(backend=Player(path).respond)
    assert (await client.http.get("/x")).json() == BODY
    echoed = await client.http.post("/echo?a=1&code=" + TOKEN, json={"password": TOKEN, "n": 1})
    assert echoed.json()["query"]["a"] == "1"
    values = [(await client.http.get("/random")).json()["value"] for _ in range(3)]
    assert values[0] != values[1] == values[2]
    assert (await client.http.get("/nothing")).status_code == 204
    assert (await client.http.get("/parts")).text == "part 0\npart 1\npart 2\n"
    for missing in ("/y", "/x?c=1"):
        response = await client.http.get(missing)
        assert (response.status_code, response.json()["error"][:20]) == (404, "not in the recording")
    assert (await client.http.post("/echo?a=1&code=" + TOKEN, json={"n": 2})).status_code == 404


async def test_other_requests_go_to_the_program(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "recording.jsonl"
    path.write_text('{"method":"GET","target":"/x","request":"","status":299,"body":"recorded"}\n')

    async def program(request: Request) -> Response:
        return Response(200, b"program")

    player = Options(replay=path).backend(program)
    assert player is not None
    async with running(backend=player.respond) as sandbox, httpx.AsyncClient(base_url=sandbox.url) as http:
        assert ((await http.get("/x")).status_code, (await http.get("/x")).text) == (299, "recorded")
        assert (await http.get("/y")).text == "program"


async def test_server_that_is_away_is_502_and_not_recorded(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "recording.jsonl"
    recorder = Recorder("http://127.0.0.1:9", path.open("a"))
    client = await start(backend=recorder.respond)
    response = await client.http.get("/x")
    assert response.status_code == 502
    assert "ConnectError" in response.json()["error"]
    await recorder.close()
    assert path.read_text() == ""


def _with_headers(request: Request) -> Response:
    cookies = (("set-cookie", f"a={TOKEN}; Path=/; HttpOnly"), ("set-cookie", "b=; Max-Age=0"))
    if request.path == "/cookies":
        return Response(200, b"{}", headers=cookies)
    if request.path == "/sent":
        return Response(200, request.headers.get("cookie", "none").encode(), "text/plain")
    body = b'{"access_token": "%b", "n": 1}' % TOKEN.encode()
    coding = "br" if request.path == "/unknown" else "gzip"
    if coding in request.headers.get("accept-encoding", "") or coding == "br":
        return Response(200, gzip.compress(body), headers=(("content-encoding", coding), ("vary", "accept-encoding")))
    return Response(200, body)


@pytest.fixture
async def real(start: Start, tmp_path: Path) -> AsyncIterator[tuple[httpx.AsyncClient, Path]]:
    """A client of a recorder before a server with cookies and codings, and the file of the recording."""
    path = tmp_path / "recording.jsonl"
    server = await start(Control(), backend=_with_headers)
    recorder = Recorder(server.sandbox.url, path.open("a"))
    yield (await start(Control(), backend=recorder.respond)).http, path
    await recorder.close()


async def test_every_cookie_is_replayed_with_its_value_masked(
    start: Start, real: tuple[httpx.AsyncClient, Path]
) -> None:
    recording, path = real
    assert f"a={TOKEN}; Path=/; HttpOnly" in (await recording.get("/cookies")).headers.get_list("set-cookie")
    assert TOKEN not in path.read_text()
    client = await start(backend=Player(path).respond)
    first, second = (await client.http.get("/cookies")).headers.get_list("set-cookie")
    assert re.fullmatch(r"a=<masked:\w+>; Path=/; HttpOnly", first)
    assert second == "b=; Max-Age=0"


async def test_cookie_of_one_client_is_not_sent_for_another(real: tuple[httpx.AsyncClient, Path]) -> None:
    recording, _ = real
    await recording.get("/cookies")
    recording.cookies.clear()
    assert (await recording.get("/sent")).text == "none"


async def test_coded_body_is_masked_and_replayed_with_its_coding_if_that_is_accepted(
    start: Start, real: tuple[httpx.AsyncClient, Path]
) -> None:
    recording, path = real
    got = await recording.get("/x", headers={"accept-encoding": "br, gzip"})
    assert (got.headers["content-encoding"], got.json()["access_token"]) == ("gzip", TOKEN)
    assert TOKEN not in path.read_text()
    client = await start(backend=Player(path).respond)
    for accepted, coding in (("gzip", "gzip"), ("identity", None), ("gzip;q=0", None)):
        replayed = await client.http.get("/x", headers={"accept-encoding": accepted})
        assert (replayed.headers.get("content-encoding"), replayed.json()["n"]) == (coding, 1)


async def test_body_of_an_unknown_coding_is_passed_on_and_not_recorded(real: tuple[httpx.AsyncClient, Path]) -> None:
    recording, path = real
    async with recording.stream("GET", "/unknown") as response:
        assert response.headers["content-encoding"] == "br"
        assert gzip.decompress(b"".join([part async for part in response.aiter_raw()])).startswith(b"{")
    assert path.read_text() == ""


async def test_length_of_a_response_to_head_is_recorded_and_replayed(
    start: Start, real: tuple[httpx.AsyncClient, Path]
) -> None:
    recording, path = real
    headers = {"accept-encoding": "identity"}
    length = (await recording.head("/x", headers=headers)).headers["content-length"]
    client = await start(backend=Player(path).respond)
    for _ in range(2):
        assert (await client.http.head("/x", headers=headers)).headers["content-length"] == length != "0"


def _digest_of_body(request: Request) -> Response:
    return Response(200, hashlib.sha256(request.body).hexdigest().encode(), "text/plain")


async def test_bodies_that_are_not_utf8_are_compared_exactly(start: Start, tmp_path: Path) -> None:
    path, bodies = tmp_path / "recording.jsonl", (b"\xff\x01", b"\xfe\x01")
    server = await start(Control(), backend=_digest_of_body)
    recorder = Recorder(server.sandbox.url, path.open("a"))
    recording = await start(Control(), backend=recorder.respond)
    answers = [(await recording.http.post("/x", content=body)).text for body in bodies]
    await recorder.close()
    client = await start(backend=Player(path).respond)
    assert [(await client.http.post("/x", content=body)).text for body in bodies] == answers
    assert (await client.http.post("/x", content=b"\xfd\x01")).status_code == 404


async def test_parameters_that_are_not_utf8_are_compared_exactly_beside_credentials(
    start: Start, tmp_path: Path
) -> None:
    path = tmp_path / "recording.jsonl"
    server = await start(Control(), backend=lambda request: Response(200, request.target[-2:].encode()))
    recorder = Recorder(server.sandbox.url, path.open("a"))
    recording = await start(Control(), backend=recorder.respond)
    targets = ("/x?token=a&name=%FF", "/x?token=a&name=%FE")
    answers = [(await recording.http.get(target)).text for target in targets]
    await recorder.close()
    client = await start(backend=Player(path).respond)
    assert [(await client.http.get(target)).text for target in targets] == answers == ["FF", "FE"]


async def test_body_that_is_not_utf8_is_found_in_an_older_recording(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "recording.jsonl"
    line = {"method": "POST", "target": "/x", "request": "\ufffd\x01", "status": 200, "body": "old"}
    path.write_text(json.dumps(line) + "\n")
    client = await start(backend=Player(path).respond)
    assert (await client.http.post("/x", content=b"\xff\x01")).text == "old"


@pytest.mark.parametrize(
    ("text", "place"),
    [("{", ":1: not a line"), ('{"method":"GET"}\n', ":1: not a line"), ("[]", ":1: not a line"),
     ('{"method":"GET","target":"/","request":"","status":200,"body":""}\n{"a":1}', ":2: not a line"),
     ('{"method":"GET","target":"/","request":"","status":"x","body":""}', ":1: not a line")],
)  # fmt: skip
def test_malformed_recording_is_refused_with_its_line(tmp_path: Path, text: str, place: str) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text(text)
    with pytest.raises(RecordingError, match=place):
        Player(path)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"record": "127.0.0.1:80"}, "the base URL of a server is expected"),
        ({"record": "http://127.0.0.1:80"}, "--record needs --recording FILE"),
        ({"record": "http://127.0.0.1:80", "replay": Path("x")}, "exclude each other"),
        ({"recording": Path("x.jsonl")}, "--recording needs --record URL"),
        ({"recording": Path("x"), "replay": Path("y")}, "to answer from a recording, use --replay FILE"),
        ({"replay": Path("missing.jsonl")}, "--replay: missing.jsonl: No such file"),
        ({"record": "http://127.0.0.1:80", "recording": Path("no/such/folder")}, "--recording no/such/folder: No such"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], text: str) -> None:
    with pytest.raises(OptionsError, match=text):
        Options(**options).backend(lambda request: Response())


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("- {delay: soon}", r"line 1: \[0\].delay: a duration"),
        (
            "rules:\n- {delay: 1s}\n- fault: {kind: hang, were: before}",
            r'line 3: rules\[1\].fault.were: unknown key \(known: kind, max, where; did you mean "where"',
        ),
        ("a: [", ": line 2, column 1: not YAML: did not find"),
        ("a: 1", r"line 1: a: unknown key \(known: listener, rules\)"),
        ("7", "a list of rules is expected"),
        ("- delay: 1s\n- overrides: {lifetime: 5}", r"line 2: \[1\].overrides: echo has none; response and merge"),
        ("5", "a list of rules is expected"),
    ],
)
def test_wrong_file_of_rules_is_refused_with_its_place(tmp_path: Path, text: str, place: str) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(text)
    with pytest.raises(OptionsError, match=place) as caught:
        Options(faults=path).control(Overrides("echo"))
    assert str(path) in str(caught.value)


def test_state_that_no_rule_leads_to_is_refused_unless_it_can_be_set() -> None:
    rules = ("{scenario: {name: s, next: down}}", "{fault: empty, scenario: {name: s, state: donw}}")
    with pytest.raises(OptionsError, match=r"scenario s: no rule leads to the state donw .*did you mean \"down\""):
        Options(fault=rules).control(Overrides("echo"))
    assert len(Options(fault=rules, admin=True).control(Overrides("echo")).rules) == 2


def test_rules_come_from_flags_and_a_file_and_turn_nothing_else_on(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text("rules:\n- {name: second, delay: {uniform: [1ms, 2ms]}}\n")
    control = Options(faults=path, fault=("{name: first, fault: empty}",)).control(Overrides("echo"))
    assert [rule.name for rule in control.rules] == ["first", "second"]
    assert control.admin is False
    with pytest.raises(OptionsError, match="--fault 1: not YAML"):
        Options(fault=("{",)).control(Overrides("echo"))
    options, clock = Options(clock="soon"), Clock()
    with pytest.raises(OptionsError, match="--clock soon: an instant"):
        options.set_clock(clock)


def test_clock_option_sets_and_stops() -> None:
    clock = Clock()
    Options(clock="stopped:2030-01-01T00:00:00Z").set_clock(clock)
    assert (clock.now(), clock.stopped) == (1893456000.0, True)
