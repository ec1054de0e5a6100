"""The client library, with respx in the gateway's place. What both clients share is tested through the blocking one."""

from __future__ import annotations

import asyncio
import inspect
import json
import pickle
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
import respx

from proxy import client as library
from proxy.client import (
    ApiError,
    AsyncClient,
    BadRequest,
    Client,
    ClientError,
    ConnectionFailed,
    ExecutionTimeout,
    Forbidden,
    LoginResult,
    NotFound,
    Playbook,
    RateLimited,
    ServerError,
    Unauthorized,
    User,
)

URL = "https://gateway.example"
TOKEN = "d23c3024d55b4d0faea4886eb13c2347"
ID = "549325390032929117"
USER = {"user_id": 1, "email": "user@example.com", "display_name": "User Name", "roles": ["analyst"]}
LOGIN = {
    "status": "authenticated",
    "session_token": TOKEN,
    "user": USER,
    "expires_at": "2026-01-28T22:11:41.335589+00:00",
    "message": "Authentication successful",
}


@pytest.fixture
def gateway() -> Iterator[respx.MockRouter]:
    with respx.mock(base_url=URL) as router:
        yield router


@pytest.fixture
def client() -> Iterator[Client]:
    with Client(URL, session_token=TOKEN) as made:
        yield made


def sent(route: respx.Route) -> Any:
    return json.loads(route.calls.last.request.content)


def status_data(status: str) -> dict[str, Any]:
    ended = status not in ("pending", "running")
    fields = {
        "executionId": ID,
        "status": status,
        "completed": ended,
        "failed": status == "failed",
        "cancelled": status == "cancelled",
        "currentStep": "start",
        "completedSteps": ["start"],
        "variables": {"total": 6},
    }
    return {"data": {"executionStatus": fields}}


def graphql_error(**extensions: Any) -> dict[str, Any]:
    return {"data": None, "errors": [{"message": "No access to playbook", "extensions": extensions}]}


def test_login_sends_the_fields_of_the_guide(gateway: respx.MockRouter) -> None:
    route = gateway.post("/api/auth/login").respond(json=LOGIN)
    with Client(URL) as client:
        client.login("ey.a.b", "tenant.example", 4)
    assert sent(route) == {"auth0_token": "ey.a.b", "auth0_domain": "tenant.example", "session_duration_hours": 4}


def test_login_without_a_domain_leaves_the_choice_to_the_gateway(gateway: respx.MockRouter) -> None:
    route = gateway.post("/api/auth/login").respond(json=LOGIN)
    with Client(URL) as client:
        client.login("ey.a.b")
    assert sent(route) == {"auth0_token": "ey.a.b", "session_duration_hours": 8}


def test_login_gives_the_user_and_an_aware_expiry(gateway: respx.MockRouter) -> None:
    gateway.post("/api/auth/login").respond(json=LOGIN)
    with Client(URL) as client:
        result = client.login("ey.a.b")
    expires_at = datetime(2026, 1, 28, 22, 11, 41, 335589, tzinfo=UTC)
    assert result == LoginResult(TOKEN, User(1, "user@example.com", "User Name", ("analyst",)), expires_at)


def test_the_session_from_login_is_used_by_the_next_request(gateway: respx.MockRouter) -> None:
    gateway.post("/api/auth/login").respond(json=LOGIN)
    route = gateway.get("/api/auth/me").respond(json={"user": USER})
    with Client(URL) as client:
        client.login("ey.a.b")
        client.me()
    assert route.calls.last.request.headers["authorization"] == f"Bearer {TOKEN}"


def test_a_refused_login_leaves_the_client_signed_out(gateway: respx.MockRouter) -> None:
    gateway.post("/api/auth/login").respond(401, json={"error": "Invalid token: expired"})
    with Client(URL) as client:
        with pytest.raises(Unauthorized, match="Invalid token: expired"):
            client.login("ey.a.b")
        assert client.session_token is None


def test_an_operation_before_login_says_so_without_a_request() -> None:
    with Client(URL) as client, pytest.raises(Unauthorized, match="call login"):
        client.execute_playbook("my_playbook")


def test_execute_playbook_sends_name_and_variables(gateway: respx.MockRouter, client: Client) -> None:
    route = gateway.post("/graphql").respond(json={"data": {"executePlaybook": {"executionId": ID}}})
    client.execute_playbook("data_pipeline/transform_data", {"factor": 3})
    assert sent(route)["variables"] == {"name": "data_pipeline/transform_data", "vars": {"factor": 3}}


@pytest.mark.parametrize("told", [ID, int(ID)])
def test_an_execution_id_is_a_string_whatever_was_sent(
    gateway: respx.MockRouter, client: Client, told: str | int
) -> None:
    gateway.post("/graphql").respond(json={"data": {"executePlaybook": {"executionId": told}}})
    assert client.execute_playbook("my_playbook") == ID


def test_the_status_of_an_execution_is_read(gateway: respx.MockRouter, client: Client) -> None:
    gateway.post("/graphql").respond(json=status_data("failed"))
    status = client.get_execution_status(ID)
    assert (status.execution_id, status.status, status.completed, status.failed) == (ID, "failed", True, True)
    assert (status.completed_steps, status.variables) == (("start",), {"total": 6})


def test_waiting_ends_with_the_execution(gateway: respx.MockRouter, client: Client) -> None:
    answers = [httpx.Response(200, json=status_data(status)) for status in ("pending", "running", "completed")]
    route = gateway.post("/graphql").mock(side_effect=answers)
    assert client.wait_for_completion(ID, poll_interval=0.001).status == "completed"
    assert route.call_count == 3


def test_waiting_gives_up_after_its_timeout(gateway: respx.MockRouter, client: Client) -> None:
    gateway.post("/graphql").respond(json=status_data("running"))
    with pytest.raises(ExecutionTimeout, match=f"{ID} is still running"):
        client.wait_for_completion(ID, poll_interval=0.001, timeout=0.01)


def test_cancelling_gives_the_state_after_it(gateway: respx.MockRouter, client: Client) -> None:
    fields = status_data("cancelled")["data"]["executionStatus"]
    route = gateway.post("/graphql").respond(json={"data": {"cancelExecution": fields}})
    assert client.cancel_execution(ID, "a mistake").cancelled
    assert sent(route)["variables"] == {"id": ID, "reason": "a mistake"}


def test_playbooks_are_listed(gateway: respx.MockRouter, client: Client) -> None:
    entry = {
        "name": "my_playbook",
        "description": "Greets",
        "variables": {"name": "x"},
        "version": 1,
        "kind": "Playbook",
    }
    gateway.post("/graphql").respond(json={"data": {"playbooks": [entry]}})
    assert client.playbooks() == (Playbook("my_playbook", "Greets", {"name": "x"}, 1, "Playbook"),)


def test_graphql_gives_data_as_it_came(gateway: respx.MockRouter, client: Client) -> None:
    route = gateway.post("/graphql").respond(json={"data": {"version": "1"}})
    assert client.graphql("{ version }", {"a": 1}) == {"version": "1"}
    assert sent(route) == {"query": "{ version }", "variables": {"a": 1}}


@pytest.mark.parametrize("valid", [True, False])
def test_validating_tells_what_the_gateway_says(gateway: respx.MockRouter, client: Client, valid: bool) -> None:
    gateway.post("/api/auth/validate").respond(json={"valid": valid, "user": None})
    assert client.validate_session() is valid


def test_no_session_is_not_valid_without_a_request() -> None:
    with Client(URL) as client:
        assert client.validate_session() is False


def test_an_access_check_carries_its_reason(gateway: respx.MockRouter, client: Client) -> None:
    answer = {"allowed": False, "user_id": 1, "message": "No access to playbook"}
    route = gateway.post("/api/auth/check-access").respond(json=answer)
    access = client.check_access("system/purge", "view")
    assert (access.allowed, access.user_id, access.message) == (False, 1, "No access to playbook")
    assert sent(route) == {"session_token": TOKEN, "playbook_name": "system/purge", "permission_type": "view"}


def test_logout_forgets_the_session(gateway: respx.MockRouter, client: Client) -> None:
    route = gateway.post("/api/auth/logout").respond(json={"status": "logged_out"})
    client.logout(everywhere=True)
    assert client.session_token is None
    assert sent(route) == {"everywhere": True}


def test_logging_out_of_an_ended_session_is_no_error(gateway: respx.MockRouter, client: Client) -> None:
    gateway.post("/api/auth/logout").respond(401, json={"error": "Invalid or expired session"})
    client.logout()
    assert client.session_token is None


def test_a_logout_that_never_arrived_can_be_repeated(gateway: respx.MockRouter, client: Client) -> None:
    gateway.post("/api/auth/logout").mock(side_effect=httpx.ConnectError("refused"))
    with pytest.raises(ConnectionFailed):
        client.logout()
    assert client.session_token == TOKEN


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (302, ApiError),
        (400, BadRequest),
        (401, Unauthorized),
        (403, Forbidden),
        (404, NotFound),
        (413, ApiError),
        (429, RateLimited),
        (500, ServerError),
        (502, ServerError),
        (504, ServerError),
    ],
)
def test_an_http_status_becomes_its_error(
    gateway: respx.MockRouter, client: Client, status: int, kind: type[ApiError]
) -> None:
    gateway.get("/api/auth/me").respond(status, json={"error": "the reason"}, headers={"x-request-id": "r-1"})
    with pytest.raises(ApiError) as caught:
        client.me()
    error = caught.value
    assert (type(error), error.status, error.message, error.request_id) == (kind, status, "the reason", "r-1")


@pytest.mark.parametrize(
    ("extensions", "kind", "status"),
    [
        ({"code": "FORBIDDEN", "status": 403}, Forbidden, 403),
        ({"code": "NOT_FOUND", "status": 404}, NotFound, 404),
        ({"code": "BAD_USER_INPUT"}, BadRequest, 400),
        ({"code": "UPSTREAM_UNAVAILABLE"}, ServerError, 502),
        ({"code": "UPSTREAM_UNAVAILABLE", "status": 503}, ServerError, 503),
        ({"code": "UPSTREAM_TIMEOUT"}, ServerError, 504),
        ({"code": "INTERNAL"}, ServerError, 500),
        ({"code": "LIMIT_EXCEEDED", "status": 429}, RateLimited, 429),
        ({"code": "SOMETHING_NEW"}, BadRequest, 400),
        ({}, BadRequest, 400),
    ],
)
def test_a_graphql_error_becomes_the_same_errors(
    gateway: respx.MockRouter, client: Client, extensions: dict[str, Any], kind: type[ApiError], status: int
) -> None:
    gateway.post("/graphql").respond(json=graphql_error(**extensions))
    with pytest.raises(ApiError) as caught:
        client.execute_playbook("system/purge")
    error = caught.value
    assert (type(error), error.status, error.code) == (kind, status, extensions.get("code"))
    assert error.message == "No access to playbook"


def test_a_graphql_error_with_an_http_status_is_read_too(gateway: respx.MockRouter, client: Client) -> None:
    gateway.post("/graphql").respond(404, json=graphql_error(code="X"))
    with pytest.raises(NotFound):
        client.graphql("{ version }")


@pytest.mark.parametrize(
    ("header", "seconds"), [({"retry-after": "7"}, 7), ({"retry-after": "soon"}, None), ({}, None)]
)
def test_a_rate_limit_tells_when_to_come_back(
    gateway: respx.MockRouter, client: Client, header: dict[str, str], seconds: int | None
) -> None:
    gateway.get("/api/auth/me").respond(429, json={"error": "Too many requests"}, headers=header)
    with pytest.raises(RateLimited) as caught:
        client.me()
    assert caught.value.retry_after == seconds


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"7", b'{"user": null}', b'{"user": {"user_id": "x"}}'])
def test_an_answer_that_no_gateway_gives_is_an_api_error(
    gateway: respx.MockRouter, client: Client, body: bytes
) -> None:
    gateway.get("/api/auth/me").respond(200, content=body)
    with pytest.raises(ApiError, match="not a valid response of the gateway"):
        client.me()


@pytest.mark.parametrize("body", [b"", b"<html>bad</html>", b'{"errors": []}', b'{"errors": ["x"]}', b'["a"]'])
def test_an_error_without_a_readable_body_keeps_its_status(
    gateway: respx.MockRouter, client: Client, body: bytes
) -> None:
    gateway.get("/api/auth/me").respond(502, content=body)
    with pytest.raises(ServerError, match="502: Bad Gateway"):
        client.me()


@pytest.mark.parametrize("failure", [httpx.ConnectError, httpx.ReadTimeout, httpx.RemoteProtocolError])
def test_request_without_response_is_connection_failed(
    gateway: respx.MockRouter, client: Client, failure: type[httpx.TransportError]
) -> None:
    gateway.get("/api/auth/me").mock(side_effect=failure("gone"))
    with pytest.raises(ConnectionFailed, match=f"{failure.__name__}: gone"):
        client.me()


def test_every_request_has_a_timeout(gateway: respx.MockRouter) -> None:
    route = gateway.get("/api/auth/me").respond(json={"user": USER})
    with Client(URL, session_token=TOKEN, timeout=3) as client:
        client.me()
    assert route.calls.last.request.extensions["timeout"] == dict.fromkeys(("connect", "read", "write", "pool"), 3)


@pytest.mark.parametrize("timeout", [0, -1, float("nan")])
def test_a_timeout_that_is_none_is_refused(timeout: float) -> None:
    with pytest.raises(ValueError, match="timeout"):
        Client(URL, timeout=timeout)


@pytest.mark.parametrize("url", ["gateway.example", "ftp://gateway.example", "https://", ""])
def test_an_address_that_is_not_http_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="base_url"):
        Client(url)


def test_a_path_in_the_address_is_kept() -> None:
    with respx.mock() as router, Client("https://example.com/edge/", session_token=TOKEN) as client:
        router.get("https://example.com/edge/api/auth/me").respond(json={"user": USER})
        assert client.me().user_id == 1


@pytest.mark.parametrize("token", ["", "a b", "a\r\nx: y", "\ud800"])
def test_a_token_that_cannot_be_one_is_refused_without_being_quoted(token: str) -> None:
    with pytest.raises(ValueError, match="invalid in a token"):
        Client(URL, session_token=token)


def test_the_token_is_not_in_the_client_s_repr(client: Client) -> None:
    assert repr(client) == "<Client https://gateway.example signed in>"


def test_a_password_in_the_address_is_not_in_the_client_s_repr() -> None:
    with Client("https://me:hunter2@gateway.example") as client:
        assert "hunter2" not in repr(client)


def test_the_token_is_not_in_the_login_result_s_repr() -> None:
    result = LoginResult(TOKEN, User(1, "", ""), datetime.now(UTC))
    assert TOKEN not in repr(result)


def test_a_token_that_the_gateway_echoes_is_hidden(gateway: respx.MockRouter, client: Client) -> None:
    gateway.post("/api/auth/check-access").respond(400, json={"error": f"bad session {TOKEN}"})
    with pytest.raises(BadRequest) as caught:
        client.check_access("my_playbook")
    shown = f"{caught.value!r} {''.join(traceback.format_exception(caught.value))}"
    assert TOKEN not in shown
    assert "bad session [hidden]" in shown


def test_an_auth0_token_that_the_gateway_echoes_is_hidden(gateway: respx.MockRouter) -> None:
    gateway.post("/api/auth/login").respond(401, json={"error": "Invalid token: ey.a.b"})
    with Client(URL) as client, pytest.raises(Unauthorized) as caught:
        client.login("ey.a.b")
    assert "ey.a.b" not in f"{caught.value!r} {caught.value}"


def test_a_token_in_a_transport_error_is_hidden(gateway: respx.MockRouter, client: Client) -> None:
    gateway.get("/api/auth/me").mock(side_effect=httpx.LocalProtocolError(f"Illegal header value b'Bearer {TOKEN}'"))
    with pytest.raises(ConnectionFailed) as caught:
        client.me()
    assert TOKEN not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    "error", [RateLimited(429, "slow down", "r-1", "LIMIT_EXCEEDED", 3), ExecutionTimeout(ID, "running")]
)
def test_an_error_survives_pickling(error: ClientError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), vars(again), str(again)) == (type(error), vars(error), str(error))


def test_the_tree_in_the_docstring_is_the_hierarchy() -> None:
    errors = {
        name for name, value in vars(library).items() if inspect.isclass(value) and issubclass(value, ClientError)
    }
    tree = (library.__doc__ or "").split("\n\n")[-1]
    drawn = {word for word in tree.replace(",", " ").split() if word in errors}
    assert drawn == errors


def test_both_clients_have_the_same_operations() -> None:
    def operations(kind: type) -> dict[str, list[str]]:
        found = inspect.getmembers(kind, inspect.isfunction)
        signatures = {name: list(inspect.signature(function).parameters) for name, function in found}
        return {name: parameters for name, parameters in signatures.items() if not name.startswith("_")}

    ours, theirs = operations(Client), operations(AsyncClient)
    assert ours.pop("close") == theirs.pop("aclose")
    assert ours == theirs


async def test_the_async_client_goes_the_whole_way(gateway: respx.MockRouter) -> None:
    gateway.post("/api/auth/login").respond(json=LOGIN)
    gateway.post("/api/auth/logout").respond(json={"status": "logged_out"})
    executed = httpx.Response(200, json={"data": {"executePlaybook": {"executionId": ID}}})
    looks = [httpx.Response(200, json=status_data(status)) for status in ("running", "completed")]
    gateway.post("/graphql").mock(side_effect=[executed, *looks])
    async with AsyncClient(URL) as client:
        await client.login("ey.a.b")
        status = await client.wait_for_completion(await client.execute_playbook("my_playbook"), poll_interval=0.001)
        await client.logout()
        assert (status.status, client.session_token) == ("completed", None)


async def test_the_async_client_raises_the_same_errors(gateway: respx.MockRouter) -> None:
    gateway.get("/api/auth/me").respond(403, json={"error": "Forbidden"})
    async with AsyncClient(URL, session_token=TOKEN) as client:
        with pytest.raises(Forbidden):
            await client.me()


async def test_the_async_client_fails_to_connect_in_the_same_way(gateway: respx.MockRouter) -> None:
    gateway.get("/api/auth/me").mock(side_effect=httpx.ConnectTimeout("late"))
    async with AsyncClient(URL, session_token=TOKEN) as client:
        with pytest.raises(ConnectionFailed):
            await client.me()


async def test_a_cancelled_wait_stops_looking(gateway: respx.MockRouter) -> None:
    gateway.post("/graphql").respond(json=status_data("running"))
    async with AsyncClient(URL, session_token=TOKEN) as client:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.wait_for_completion(ID, poll_interval=60), 0.05)
