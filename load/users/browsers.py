"""Users with a browser: one that polls the status of what it runs, and one that listens by `/events` or `/ws`."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

import gevent
import websocket
from gevent.event import Event
from locust import task

from load.kinds import kind_of
from load.users.common import EXECUTE, MEASURED, RESULT_SECONDS, RETRY_SECONDS, STATUS, EdgeUser

PLAYBOOKS = ("data_pipeline/transform_data", "examples/hello_world", "my_playbook")
POLL_SECONDS = 1.0
STREAM_SECONDS = 90.0


class BrowserPolls(EdgeUser):
    """A browser app in the manner of the API guide: validates its session, runs playbooks, and polls their status."""

    @task(2)
    def load_page(self) -> None:
        """Validate the session, as the app does before each page, and list playbooks."""
        answer = self.call("POST", "/api/auth/validate", "validate", json={"session_token": self.token})
        if answer.status_code == 200 and not answer.json().get("valid"):
            MEASURED.counters["lost_sessions"] += 1
            self.sign_in()
        self.graphql("{ playbooks { name description } }", {}, "graphql playbooks")

    @task(3)
    def run_playbook(self) -> None:
        """Start a playbook, and poll until its result is there."""
        started = time.time()
        data = self.graphql(EXECUTE, {"name": self.random.choice(PLAYBOOKS), "variables": {"n": 1}}, "graphql execute")
        if data is None:
            return
        execution = data["executePlaybook"]["executionId"]
        deadline = started + RESULT_SECONDS
        while time.time() < deadline:
            gevent.sleep(POLL_SECONDS)
            status = self.graphql(STATUS, {"id": execution}, "graphql status")
            if status is not None and status["executionStatus"]["completed"]:
                MEASURED.counters["results"] += 1
                self.note("result by polling", started)
                return
        MEASURED.counters["lost_results"] += 1
        self.note("result by polling", started, "timeout")

    @task(1)
    def who_am_i(self) -> None:
        """Ask who is signed in."""
        self.call("GET", "/api/auth/me", "me")


class BrowserListens(EdgeUser):
    """A browser app that starts playbooks with its client id, and gets their results as events, each once."""

    def on_start(self) -> None:
        """Sign in, and open the stream."""
        super().on_start()
        self.client_id = str(uuid.uuid4())
        self.waiting: dict[str, float] = {}
        self.delivered: dict[str, str] = {}
        self.early: dict[str, str] = {}
        self.last = ""
        self.opened = Event()
        listen = self._listen_by_websocket if self.random.random() < 0.25 else self._listen_by_events
        self.listener = gevent.spawn(self._listen, listen)

    def on_stop(self) -> None:
        """Close the stream."""
        self.listener.kill(block=False)

    @task
    def run_playbook(self) -> None:
        """Start a playbook for the stream's client."""
        if not self.opened.wait(timeout=RESULT_SECONDS):
            return
        self._count_lost()
        started = time.time()
        variables = {"name": self.random.choice(PLAYBOOKS), "variables": {"n": 1}, "client": self.client_id}
        data = self.graphql(EXECUTE, variables, "graphql execute")
        if data is None:
            return
        request = data["executePlaybook"]["requestId"]
        if request in self.early:
            self._arrived(request, started, self.early.pop(request))
        else:
            self.waiting[request] = started

    def _count_lost(self) -> None:
        for request, started in list(self.waiting.items()):
            if time.time() - started > RESULT_SECONDS:
                del self.waiting[request]
                MEASURED.counters["lost_results"] += 1
                self.note("result by events", started, "timeout")

    def _arrived(self, request: str, started: float, identity: str) -> None:
        self.delivered[request] = identity
        MEASURED.counters["results"] += 1
        self.note("result by events", started)

    def receive(self, kind: str, message: Mapping[str, Any], identity: str) -> None:
        """Receive an event, with its id, or that of the connection for `/ws`, whose messages have none.

        An event that is repeated after a broken connection has the same id, and is not a second result.
        """
        if kind != "playbook/result":
            return
        request = str(message.get("params", {}).get("requestId", ""))
        if request in self.delivered:
            first = self.delivered[request]
            again = first != identity if identity.startswith("event") else first == identity
            MEASURED.counters["duplicate_results"] += again
        elif request in self.waiting:
            self._arrived(request, self.waiting.pop(request), identity)
        else:
            self.early[request] = identity

    def _listen(self, listen: Any) -> None:
        while True:
            try:
                listen()
            except gevent.GreenletExit:
                raise
            except Exception as error:
                MEASURED.counters[f"streams broken: {type(error).__name__}"] += 1
            self.opened.clear()
            self.another_gateway()
            gevent.sleep(self.random.uniform(0.2, 1.0) * RETRY_SECONDS)

    def _listen_by_events(self) -> None:
        headers = {**self.authorized, "accept": "text/event-stream"}
        if self.last:
            headers["last-event-id"] = self.last
        path = f"/events?client_id={self.client_id}"
        started = time.time()
        with self.client.get(
            self.gateway + path, name="events", stream=True, catch_response=True, headers=headers
        ) as r:
            if r.status_code != 200:
                r.failure(str(r.status_code))
                kind = kind_of(r.status_code or 0, getattr(r, "error", None))
                MEASURED.add(started, "events", time.time() - started, kind)
                return
            r.success()
            MEASURED.add(started, "events", time.time() - started)
            self.opened.set()
            for kind, data, identity in _events(r):
                self.last = identity or self.last
                self.receive(kind, data, f"event {identity}")

    def _listen_by_websocket(self) -> None:
        started = time.time()
        url = f"{self.gateway.replace('http', 'ws', 1)}/ws?client_id={self.client_id}"
        header = [f"{name}: {value}" for name, value in self.authorized.items()]
        try:
            socket = websocket.create_connection(url, timeout=STREAM_SECONDS, header=header)
        except Exception:
            MEASURED.add(started, "ws", time.time() - started, "connection")
            raise
        MEASURED.add(started, "ws", time.time() - started)
        self.opened.set()
        try:
            while True:
                message = json.loads(socket.recv())
                self.receive(str(message.get("method")), message, f"connection {started}")
        finally:
            socket.close()


def _events(response: Any) -> Iterator[tuple[str, Mapping[str, Any], str]]:
    """Return kind, data and id of each event of a stream (HTML, 9.2.6)."""
    kind, data, identity = "message", "", ""
    while True:
        line = response.stream.readline(b"\n")
        if not line:
            return
        text = line.decode().rstrip("\r\n")
        name, _, value = text.partition(":")
        value = value.removeprefix(" ")
        if not text:
            if data:
                parsed = json.loads(data)
                yield kind, parsed if isinstance(parsed, dict) else {}, identity
            kind, data, identity = "message", "", ""
        elif name == "event":
            kind = value
        elif name == "data":
            data += value
        elif name == "id":
            identity = value
