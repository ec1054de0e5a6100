"""The published guide, step by step, and what must not work. Steps run in the order they stand here.

Later steps use the sessions of earlier ones, and the last ones restart or stop programs.
"""

from __future__ import annotations

import json
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from proxy.client import ApiError, Client, ExecutionStatus, LoginResult
from tests.e2e import browser
from tests.e2e.leaks import Leaks
from tests.e2e.processes import Programs, wait_until

USER, DEVELOPER = "user@example.com", "dev@example.com"
ORIGIN, FOREIGN_ORIGIN = "http://localhost:3000", "https://elsewhere.example"
TRANSFORM = "data_pipeline/transform_data"
GARBAGE = "0123456789abcdef" * 2
INLINE = 'mutation { executePlaybook(name: "my_playbook", variables: {}) { executionId } }'
SHORT_HOURS = "0.0005"


@dataclass(slots=True)
class Stage:
    """What the steps share: the programs, a plain HTTP client, and one signed-in client for each person."""

    programs: Programs
    dialect: str
    provider: str = "local"
    http: httpx.Client = field(init=False)
    id_tokens: dict[str, str] = field(default_factory=dict)
    logins: dict[str, LoginResult] = field(default_factory=dict)
    clients: dict[str, Client] = field(default_factory=dict)
    leaks: Leaks = field(init=False)
    remark: str = ""

    def __post_init__(self) -> None:
        self.leaks = Leaks(self.programs.gateway_url)
        self.http = httpx.Client(base_url=self.programs.gateway_url, timeout=10, trust_env=False)

    def client(self, email: str = USER) -> Client:
        """The client of one person, made at first use."""
        if email not in self.clients:
            # A transport of its own: httpx then ignores proxies that the environment names.
            self.clients[email] = Client(self.programs.gateway_url, timeout=10, transport=httpx.HTTPTransport())
        return self.clients[email]

    def bearer(self, email: str = USER) -> dict[str, str]:
        """The header that carries the person's session."""
        return {"authorization": f"Bearer {self.client(email).session_token}"}

    def login(self, email: str) -> LoginResult:
        """Trade the person's id_token for a session."""
        return self.client(email).login(self.id_tokens[email], self.programs.domain)

    def close(self) -> None:
        """Close all connections."""
        self.http.close()
        for client in self.clients.values():
            client.close()


@dataclass(frozen=True, slots=True)
class Step:
    """A line of the report."""

    name: str
    run: Callable[[Stage], None]


STEPS: list[Step] = []


def step(name: str) -> Callable[[Callable[[Stage], None]], Callable[[Stage], None]]:
    """Make a function the next step."""

    def register(run: Callable[[Stage], None]) -> Callable[[Stage], None]:
        STEPS.append(Step(name, run))
        return run

    return register


def expect(response: httpx.Response, status: int) -> httpx.Response:
    """The response, if it has this status."""
    assert response.status_code == status, f"{status} expected, got {response.status_code}: {response.text[:300]}"
    return response


def refused(action: Callable[[], object], status: int, code: str | None = None) -> ApiError:
    """The error that `action` must end in."""
    with pytest.raises(ApiError) as caught:
        action()
    error = caught.value
    assert (error.status, error.code) == (status, code), f"{status} {code} expected, got {error!r}"
    return error


def check_id(execution_id: object) -> str:
    """An execution id as clients need it: a string of digits too long for a JavaScript number."""
    assert isinstance(execution_id, str), f"the id is a {type(execution_id).__name__}"
    assert execution_id.isascii(), f"the id is {execution_id!r}"
    assert execution_id.isdigit(), f"the id is {execution_id!r}"
    assert int(execution_id) > 2**53, f"the id {execution_id} would fit a JavaScript number"
    return execution_id


def finish(stage: Stage, execution_id: object, status: str, email: str = USER) -> ExecutionStatus:
    """Wait for an execution's end, which must be `status`."""
    ended = stage.client(email).wait_for_completion(check_id(execution_id), poll_interval=0.1, timeout=20)
    assert ended.execution_id == execution_id, f"{execution_id} became {ended.execution_id}"
    assert ended.status == status, f"{status} expected, got {ended}"
    return ended


@step("health says ok")
def _(stage: Stage) -> None:
    assert expect(stage.http.get("/health"), 200).text.strip() == "ok"


@step("the session folder was made for its owner only")
def _(stage: Stage) -> None:
    if stage.programs.store != "file":
        stage.remark = f"no folder: sessions in {stage.programs.store}"
        return
    mode = stat.S_IMODE(stage.programs.sessions.stat().st_mode)
    assert mode == 0o700, f"mode {mode:o}"


@step("browser login, implicit flow")
def _(stage: Stage) -> None:
    stage.id_tokens[USER] = browser.implicit_login(stage.programs.auth0_url, USER, stage.programs.password)


@step("browser login, authorization code with PKCE")
def _(stage: Stage) -> None:
    stage.id_tokens[DEVELOPER] = browser.code_login(stage.programs.auth0_url, DEVELOPER, stage.programs.password)


@step("a wrong password shows the form again")
def _(stage: Stage) -> None:
    answer = browser.fill_in(stage.programs.auth0_url, browser.implicit_request(), USER, "not the password")
    assert "Wrong email or password" in expect(answer, 400).text
    assert "location" not in answer.headers


@step("the id_token buys a session")
def _(stage: Stage) -> None:
    for email in (USER, DEVELOPER):
        stage.logins[email] = stage.login(email)
        assert stage.logins[email].user.email == email, stage.logins[email]
    assert stage.logins[USER].user.user_id != stage.logins[DEVELOPER].user.user_id


@step("the login's answer is the guide's")
def _(stage: Stage) -> None:
    body = {"auth0_token": stage.id_tokens[USER], "auth0_domain": stage.programs.domain, "session_duration_hours": 8}
    answer = expect(stage.http.post("/api/auth/login", json=body), 200)
    data = answer.json()
    assert (data["status"], data["message"]) == ("authenticated", "Authentication successful"), data.keys()
    assert data["user"]["user_id"] == stage.logins[USER].user.user_id, "the user_id changed between two logins"
    assert answer.headers["cache-control"] == "no-store"


@step("the session is valid")
def _(stage: Stage) -> None:
    assert stage.client().validate_session()


@step("me is who signed in")
def _(stage: Stage) -> None:
    assert stage.client().me() == stage.logins[USER].user


@step("the session list shows this session and no token")
def _(stage: Stage) -> None:
    answer = expect(stage.http.get("/api/auth/sessions", headers=stage.bearer()), 200)
    assert sum(entry["current"] for entry in answer.json()["sessions"]) == 1, answer.text
    assert stage.logins[USER].session_token not in answer.text


@step("a garbage Auth0 token is 401")
def _(stage: Stage) -> None:
    body = {"auth0_token": "no.such.token", "auth0_domain": stage.programs.domain}
    answer = expect(stage.http.post("/api/auth/login", json=body), 401)
    assert answer.json()["error"].startswith("Invalid token"), answer.text


@step("an Auth0 token with a changed signature is 401")
def _(stage: Stage) -> None:
    head, claims, signature = stage.id_tokens[USER].split(".")
    changed = f"{head}.{claims}.{signature[::-1]}"
    refused(lambda: stage.client("stranger").login(changed, stage.programs.domain), 401)


@step("a garbage session is 401")
def _(stage: Stage) -> None:
    headers = {"authorization": f"Bearer {GARBAGE}"}
    answer = expect(stage.http.post("/graphql", json={"query": "{ version }"}, headers=headers), 401)
    assert answer.json()["error"] == "Invalid or expired session", answer.text
    assert answer.headers["www-authenticate"].startswith("Bearer")


@step(f"check-access allows {USER} {TRANSFORM}")
def _(stage: Stage) -> None:
    access = stage.client().check_access(TRANSFORM)
    assert access.allowed, access


@step(f"check-access denies {USER} system/purge")
def _(stage: Stage) -> None:
    access = stage.client().check_access("system/purge")
    assert not access.allowed, access


@step("the playbooks are listed with their variables")
def _(stage: Stage) -> None:
    found = {playbook.name: playbook for playbook in stage.client().playbooks()}
    assert {"my_playbook", TRANSFORM} <= found.keys(), sorted(found)
    assert found["my_playbook"].variables["name"] == "world", found["my_playbook"]


@step("a playbook with inline arguments runs to its end")
def _(stage: Stage) -> None:
    answer = expect(stage.http.post("/graphql", json={"query": INLINE}, headers=stage.bearer()), 200).json()
    assert "errors" not in answer, answer
    finish(stage, answer["data"]["executePlaybook"]["executionId"], "completed")


@step("a playbook with variables runs to its end and shows them")
def _(stage: Stage) -> None:
    started = stage.client().execute_playbook(TRANSFORM, {"input_file": "gs://bucket/input.csv", "factor": 3})
    ended = finish(stage, started, "completed")
    assert ended.variables["input_file"] == "gs://bucket/input.csv", ended
    assert ended.variables["factor"] == 3, ended
    # The Rust server tells the workload, and nothing that the steps computed.
    if stage.dialect == "python":
        assert ended.variables["total"] == 127.5, ended


@step("a failing playbook ends as failed")
def _(stage: Stage) -> None:
    ended = finish(stage, stage.client().execute_playbook("examples/failing"), "failed")
    assert (ended.completed, ended.failed, ended.cancelled) == (True, True, False), ended


@step("an event stream shows a playbook that sends no callback to its end")
def _(stage: Stage) -> None:
    with events(stage, "e2e-followed") as found:
        request_id, execution_id = start_live(stage, "e2e-followed", "examples/failing")
        result = next(each for each in found if each["method"] == "playbook/result")["params"]
    assert (result["requestId"], result["executionId"], result["status"]) == (request_id, execution_id, "FAILED"), (
        result
    )


@step("a result that a worker sends while the browser is away is there when it comes back, once")
def _(stage: Stage) -> None:
    with events(stage, "e2e-away"):
        request_id, execution_id = start_live(stage, "e2e-away", "examples/slow")
    document = {"request_id": request_id, "execution_id": execution_id, "data": {"rows": 3}}
    first = stage.http.post("/api/internal/callback/async", json=document)
    assert (first.status_code, first.json()["status"]) in ((202, "queued"), (200, "delivered")), first.text
    again = expect(stage.http.post("/api/internal/callback/async", json=document), 200)
    assert again.json() == {"status": "duplicate"}, again.text
    with events(stage, "e2e-away") as found:
        result = next(each for each in found if each["method"] == "playbook/result")["params"]
    assert result["data"] == {"rows": 3}, result
    stage.client().cancel_execution(execution_id)


@contextmanager
def events(stage: Stage, client_id: str) -> Iterator[Iterator[dict[str, Any]]]:
    """Open an event stream with a ticket; yield its notifications."""
    ticket = expect(stage.http.post("/api/auth/ticket", headers=stage.bearer()), 200).json()["ticket"]
    parameters = {"ticket": ticket, "client_id": client_id}
    with stage.http.stream("GET", "/events", params=parameters, timeout=20) as response:
        assert response.status_code == 200, response.status_code
        lines = (line.removeprefix("data: ") for line in response.iter_lines() if line.startswith("data: "))
        first = json.loads(next(lines))
        assert first["result"]["clientId"] == client_id, first
        yield (json.loads(line) for line in lines)


def start_live(stage: Stage, client_id: str, name: str) -> tuple[str, str]:
    """Start a playbook for a client; return the ids of the request and of the execution."""
    query = "mutation ($n: String!, $c: String) { executePlaybook(name: $n, clientId: $c) { requestId executionId } }"
    document = {"query": query, "variables": {"n": name, "c": client_id}}
    answer = expect(stage.http.post("/graphql", json=document, headers=stage.bearer()), 200).json()
    assert "errors" not in answer, answer
    started = answer["data"]["executePlaybook"]
    return started["requestId"], started["executionId"]


@step("system/purge is FORBIDDEN in GraphQL")
def _(stage: Stage) -> None:
    refused(lambda: stage.client().execute_playbook("system/purge"), 403, "FORBIDDEN")


@step("system/purge is 403 through the relay")
def _(stage: Stage) -> None:
    expect(stage.http.post("/noetl/execute", json={"path": "system/purge"}, headers=stage.bearer()), 403)


@step("an unknown playbook is NOT_FOUND")
def _(stage: Stage) -> None:
    refused(lambda: stage.client(DEVELOPER).execute_playbook("examples/no_such"), 404, "NOT_FOUND")


@step("an unknown route is 404")
def _(stage: Stage) -> None:
    assert expect(stage.http.get("/no/such/route"), 404).json()["error"]


@step("the relay passes GET /noetl/health")
def _(stage: Stage) -> None:
    answer = expect(stage.http.get("/noetl/health", headers=stage.bearer(DEVELOPER)), 200)
    assert answer.json()["status"] == "ok", answer.text


@step("the relay passes POST /noetl/execute")
def _(stage: Stage) -> None:
    answer = expect(stage.http.post("/noetl/execute", json={"path": "my_playbook"}, headers=stage.bearer()), 200)
    finish(stage, answer.json()["execution_id"], "completed")


def preflight(stage: Stage, origin: str) -> httpx.Response:
    """Ask, as a browser would, whether a page of `origin` may post to /graphql."""
    headers = {
        "origin": origin,
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,content-type",
    }
    return stage.http.options("/graphql", headers=headers)


@step("the bridge cancels an execution that is stopped")
def _(stage: Stage) -> None:
    headers, body = stage.bearer(), {"path": TRANSFORM}
    started = expect(stage.http.post("/noetl/execute", json=body, headers=headers), 200).json()["execution_id"]
    stopped = expect(stage.http.post(f"/noetl/executions/{started}/stop", json={}, headers=headers), 200).json()
    assert stopped["cancelled_executions"] == [started], stopped
    found = expect(stage.http.get(f"/noetl/executions/{started}/status", headers=headers), 200).json()
    assert (found["status"], found["completed"], found["failed"]) == ("CANCELLED", True, False), found


@step("the bridge runs an execution again with its workload")
def _(stage: Stage) -> None:
    first = stage.client().execute_playbook(TRANSFORM, {"input_file": "gs://bucket/input.csv", "factor": 3})
    body = {"workload": {"factor": 4}}
    target = f"/noetl/executions/{first}/rerun"
    again = expect(stage.http.post(target, json=body, headers=stage.bearer()), 200).json()["execution_id"]
    variables = finish(stage, again, "completed").variables
    assert (variables["input_file"], variables["factor"]) == ("gs://bucket/input.csv", 4), variables


@step("the bridge shows the content of a playbook, and validates it")
def _(stage: Stage) -> None:
    headers = stage.bearer()
    target = f"/noetl/catalog/playbook/content?playbook_id={TRANSFORM}"
    found = expect(stage.http.get(target, headers=headers), 200).json()
    assert found["payload"]["metadata"]["path"] == TRANSFORM, found
    validate, headers = "/noetl/catalog/playbooks/validate", stage.bearer(DEVELOPER)
    for content, valid in ((found["content"], True), ("workflow: [", False)):
        checked = expect(stage.http.post(validate, json={"content": content}, headers=headers), 200).json()
        assert checked["valid"] is valid, checked


@step("a preflight from an allowed origin passes")
def _(stage: Stage) -> None:
    answer = preflight(stage, ORIGIN)
    assert answer.status_code in (200, 204), answer.status_code
    assert answer.headers["access-control-allow-origin"] == ORIGIN, answer.headers


@step("a preflight from a foreign origin is 403")
def _(stage: Stage) -> None:
    assert "access-control-allow-origin" not in expect(preflight(stage, FOREIGN_ORIGIN), 403).headers


@step("a 401 carries the CORS headers")
def _(stage: Stage) -> None:
    answer = stage.http.post("/graphql", json={"query": "{ version }"}, headers={"origin": ORIGIN})
    assert expect(answer, 401).headers.get("access-control-allow-origin") == ORIGIN, answer.headers


@step("after logout the session is 401")
def _(stage: Stage) -> None:
    headers = stage.bearer()
    stage.client().logout()
    expect(stage.http.get("/api/auth/me", headers=headers), 401)
    body: dict[str, Any] = {"session_token": stage.logins[USER].session_token}
    assert expect(stage.http.post("/api/auth/validate", json=body), 200).json()["valid"] is False


@step("logged out everywhere at the identity provider, the user's sessions are 401")
def _(stage: Stage) -> None:
    stage.logins[USER] = stage.login(USER)
    form = {"email": USER}
    answer = httpx.post(f"{stage.programs.auth0_url}/u/logout-everywhere", data=form, timeout=10, trust_env=False)
    assert [told["status"] for told in expect(answer, 200).json()["notified"]] == [200], answer.text
    expect(stage.http.get("/api/auth/me", headers=stage.bearer()), 401)


@step("a session outlives a restart of the gateway")
def _(stage: Stage) -> None:
    restart_gateway(stage)
    if stage.programs.store == "memory" and stage.provider == "playbook":
        stage.remark = "NoETL has kept it"
    elif stage.programs.store == "memory":
        refused(stage.client(DEVELOPER).me, 401)
        stage.logins[DEVELOPER] = stage.login(DEVELOPER)
        stage.remark = "it does not, as the memory store says"
    assert stage.client(DEVELOPER).me() == stage.logins[DEVELOPER].user


def keep_metrics(stage: Stage) -> None:
    """What the gateway counted, to be searched at the end."""
    stage.leaks.came_out("the metrics", expect(stage.http.get("/metrics"), 200).text)


def restart_gateway(stage: Stage, **environment: str) -> None:
    """Stop the gateway, which must end well, and start it again."""
    keep_metrics(stage)
    code = stage.programs.gateway.stop()
    assert code == 0, f"SIGTERM ended the gateway with exit code {code}"
    stage.programs.gateway.start(**environment)


@step("without NoETL the relay says 502")
def _(stage: Stage) -> None:
    stage.programs.noetl.stop()
    expect(stage.http.get("/noetl/health", headers=stage.bearer(DEVELOPER)), 502)


@step("without NoETL GraphQL says UPSTREAM_UNAVAILABLE")
def _(stage: Stage) -> None:
    refused(lambda: stage.client(DEVELOPER).execute_playbook("my_playbook"), 502, "UPSTREAM_UNAVAILABLE")


@step("once NoETL is back, playbooks run again")
def _(stage: Stage) -> None:
    stage.programs.noetl.start()
    finish(stage, stage.client(DEVELOPER).execute_playbook("my_playbook"), "completed", DEVELOPER)


@step("a session expires")
def _(stage: Stage) -> None:
    restart_gateway(stage, NOETL_EDGE_DEFAULT_HOURS=SHORT_HOURS, NOETL_EDGE_MAX_HOURS=SHORT_HOURS)
    client = stage.client(USER)
    stage.login(USER)
    assert client.validate_session(), "the session was not valid at first"
    wait_until(lambda: not client.validate_session(), 10, "the session of 1.8 s expires")
    refused(client.me, 401)


@step("no secret of the run is in logs, metrics, errors or on disk")
def _(stage: Stage) -> None:
    keep_metrics(stage)
    programs = stage.programs
    stop_code = programs.gateway.stop()
    assert stop_code == 0, f"SIGTERM ended the gateway with exit code {stop_code}"
    stage.leaks.files(programs.gateway.log, *programs.audit.parent.glob("audit.log*"))
    if programs.store != "memory":
        stage.leaks.files(programs.sessions)
    stage.remark = stage.leaks.check()
