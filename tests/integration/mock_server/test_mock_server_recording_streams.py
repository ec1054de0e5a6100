"""Recording responses whose end is not known: parts reach the client as they come."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest

from mock_server import recording
from mock_server.messages import Request, Response
from mock_server.recording import Player, Recorder
from mock_server.sandbox import Control

from .conftest import Start


class Events:
    """A server that sends an event, and the next one once `go_on` is set."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()
        self.closed = asyncio.Event()

    def respond(self, request: Request) -> Response:
        """Respond with two events, with JSON in parts, with a stream that breaks, or with an endless one."""
        if request.path == "/json":
            return Response(200, stream=self._json())
        if request.path == "/endless":
            return Response(200, content_type="text/event-stream", stream=self._endless())
        return Response(200, content_type="text/event-stream", stream=self._events(request.path == "/broken"))

    async def _events(self, breaks: bool) -> AsyncIterator[bytes]:
        yield b"data: 1\n\n"
        await self.go_on.wait()
        if breaks:
            raise ConnectionResetError
        yield b"data: 2\n\n"

    async def _endless(self) -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"data: 0\n\n"
                await asyncio.sleep(0.01)
        finally:
            self.closed.set()

    async def _json(self) -> AsyncIterator[bytes]:
        yield b'{"a": 1,'
        yield b' "b": 2}'


class Recorded:
    """A client of a recorder before such a server, and the recording."""

    def __init__(self, http: httpx.AsyncClient, events: Events, path: Path) -> None:
        self.http, self.events, self.path = http, events, path


@pytest.fixture
async def recorded(start: Start, tmp_path: Path) -> AsyncIterator[Recorded]:
    events, path = Events(), tmp_path / "recording.jsonl"
    server = await start(Control(), backend=events.respond)
    recorder = Recorder(server.sandbox.url, path.open("a"))
    yield Recorded((await start(backend=recorder.respond)).http, events, path)
    events.go_on.set()
    await recorder.close()


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - log lines have no such event
            await asyncio.sleep(0.01)


async def test_event_reaches_the_client_before_the_stream_ends_and_all_are_replayed(
    start: Start, recorded: Recorded
) -> None:
    async with asyncio.timeout(5), recorded.http.stream("GET", "/events") as response:
        parts = response.aiter_raw()
        assert await anext(parts) == b"data: 1\n\n"
        assert recorded.path.read_text() == ""
        recorded.events.go_on.set()
        assert b"".join([part async for part in parts]) == b"data: 2\n\n"
    client = await start(backend=Player(recorded.path).respond)
    replayed = await client.http.get("/events")
    assert (replayed.text, replayed.headers["content-type"]) == ("data: 1\n\ndata: 2\n\n", "text/event-stream")


async def test_stream_that_the_client_leaves_is_closed_and_not_recorded(
    recorded: Recorded, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "mock_server"):
        async with recorded.http.stream("GET", "/endless") as response:
            assert await anext(response.aiter_raw()) == b"data: 0\n\n"
        await _until(lambda: "not recorded, as the client left before the end: /endless" in caplog.text)
        await _until(recorded.events.closed.is_set)
    assert recorded.path.read_text() == ""


async def test_stream_that_the_real_server_breaks_off_is_not_recorded(
    recorded: Recorded, caplog: pytest.LogCaptureFixture
) -> None:
    recorded.events.go_on.set()
    with caplog.at_level(logging.WARNING, "mock_server"), pytest.raises(httpx.HTTPError):
        await recorded.http.get("/broken")
    assert "not recorded, as the real server ended within the body" in caplog.text
    assert "a response failed" not in caplog.text
    assert recorded.path.read_text() == ""


async def test_stream_over_the_limit_is_passed_on_and_not_recorded(
    recorded: Recorded, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording, "MAX_RECORDED_BODY", 10)
    recorded.events.go_on.set()
    with caplog.at_level(logging.WARNING, "mock_server"):
        assert (await recorded.http.get("/events")).text == "data: 1\n\ndata: 2\n\n"
    assert "not recorded, as the body is over 10 bytes: /events" in caplog.text
    assert recorded.path.read_text() == ""


async def test_head_of_a_stream_is_answered_and_recorded(recorded: Recorded) -> None:
    assert (await recorded.http.head("/events")).status_code == 200
    assert json.loads(recorded.path.read_text())["method"] == "HEAD"


async def test_members_of_json_in_parts_are_merged(recorded: Recorded) -> None:
    rule = {"match": {"path": "/json"}, "merge": {"b": 3}}
    assert (await recorded.http.post("/__admin/rules", json=rule)).status_code == 200
    assert (await recorded.http.get("/json")).json() == {"a": 1, "b": 3}
