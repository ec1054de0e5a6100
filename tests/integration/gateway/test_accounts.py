"""`provider: playbook`: what NoETL is asked, what its answers become, and what no answer becomes."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from proxy.http.credentials import key_of
from proxy.sessions.file import FileStore
from tests.integration.accounts import LOGIN, SESSION, USER, VALID, Noetl, accounts, ask, id_token, sign_in
from tests.integration.harness import eventually

WAYS = pytest.mark.parametrize("in_process", [False, True], ids=["playbook", "process"])
TRANSPORTS = pytest.mark.parametrize("fast", [True, False], ids=["fast", "streaming"])
ME = {"user_id": 7, "email": "anna@staff.test", "display_name": "Anna", "roles": ["admin", "staff", "user"]}


@WAYS
async def test_login_has_the_user_and_the_session_of_noetl(tmp_path: Path, in_process: bool) -> None:
    noetl = Noetl(in_process)
    async with accounts(tmp_path, noetl) as (gateway, _):
        status, body = await sign_in(gateway, session_duration_hours=2)
        assert (status, body["status"], body["session_token"], body["user"]) == (200, "authenticated", SESSION, ME)
        assert re.fullmatch(r"20\d\d-.*\+00:00", body["expires_at"])
        assert await ask(gateway, "GET", "/api/auth/me") == (200, {"user": ME, "expires_at": body["expires_at"]})
        assert [name for name, _ in noetl.calls] == ["login"]


async def test_login_playbook_gets_what_it_needs(tmp_path: Path) -> None:
    noetl = Noetl()
    async with accounts(tmp_path, noetl) as (gateway, _):
        given = id_token()
        await sign_in(gateway, given, session_duration_hours=99, auth0_refresh_token="r1", client_ip="192.0.2.1")
        (workload,) = noetl.carried("login")
        assert re.fullmatch(r"[0-9a-f-]{36}", workload.pop("request_id"))
        assert workload.pop("client_user_agent").startswith("Python")
        assert workload == {
            "auth0_token": given,
            "auth0_domain": "localhost",
            "auth0_refresh_token": "r1",
            "client_ip": "127.0.0.1",
            "session_duration_hours": 24,
            "gateway_url": "https://edge.test",
            "callback_subject": "",
        }
        await eventually(lambda: len(noetl.delivered) == 1)
        assert noetl.delivered == [(200, {"delivered": True, "message": "Callback delivered successfully"})]


@pytest.mark.parametrize("given", ["", None, 5, {}])
async def test_refresh_token_is_optional(tmp_path: Path, given: Any) -> None:
    noetl = Noetl()
    async with accounts(tmp_path, noetl) as (gateway, _):
        assert (await sign_in(gateway, auth0_refresh_token=given))[0] == 200
        assert noetl.carried("login")[0]["auth0_refresh_token"] == ""


async def test_server_that_signs_in_itself_runs_no_playbook(tmp_path: Path) -> None:
    noetl = Noetl(in_process=True)
    async with accounts(tmp_path, noetl, auth="db_credential: people") as (gateway, upstream):
        given = id_token()
        await sign_in(gateway, given)
        asked = {"auth0_token": given, "auth0_domain": "localhost", "client_ip": "127.0.0.1", "credential": "people"}
        assert noetl.carried("login") == [asked]
        assert not any(request.path == "/api/execute" for request in upstream.seen)


async def test_server_without_own_endpoints_is_not_asked_for_them_each_time(tmp_path: Path) -> None:
    noetl = Noetl()
    async with accounts(tmp_path, noetl) as (gateway, upstream):
        await sign_in(gateway)
        await sign_in(gateway)
        assert [request.path for request in upstream.seen].count("/api/auth/login") == 1
        assert len(noetl.calls) == 2


REFUSALS: dict[str, tuple[dict[str, Any], str]] = {
    "an error": (
        {"status": "error", "data": {"error": "bad", "message": "Token validation failed"}},
        "Token validation failed: bad",
    ),
    "denied": ({"status": "success", "data": {"status": "denied", "message": "not you"}}, "not you"),
    "no reason": ({"status": "success", "data": {"status": "denied"}}, "Authentication failed"),
    "a reason of several lines": ({"status": "error", "data": {"message": "a\nb\x00" + "c" * 999}}, "a b " + "c" * 196),
}


@pytest.mark.parametrize("case", REFUSALS.values(), ids=REFUSALS)
async def test_refused_login_is_401_with_the_reason(tmp_path: Path, case: tuple[dict[str, Any], str]) -> None:
    noetl = Noetl(callbacks=[(0, case[0])])
    async with accounts(tmp_path, noetl) as (gateway, _):
        status, body = await sign_in(gateway)
        assert (status, body["error"]) == (401, case[1])


MALFORMED: dict[str, Any] = {
    "no user": {"status": "success", "data": {**LOGIN, "user": None}},
    "a user without id": {"status": "success", "data": {**LOGIN, "user": {"email": "a@b.test"}}},
    "a user id that is no number": {"status": "success", "data": {**LOGIN, "user": {**USER, "user_id": "x"}}},
    "a user id of zero": {"status": "success", "data": {**LOGIN, "user": {**USER, "user_id": 0}}},
    "roles that are no list": {"status": "success", "data": {**LOGIN, "user": {**USER, "roles": {"a": 1}}}},
    "an address that is no text": {"status": "success", "data": {**LOGIN, "user": {**USER, "email": ["a@b.test"]}}},
    "roles of a malformed array": {"status": "success", "data": {**LOGIN, "user": {**USER, "roles": '{a,"b'}}},
    "roles of malformed JSON": {"status": "success", "data": {**LOGIN, "user": {**USER, "roles": '["a"'}}},
    "no token": {"status": "success", "data": {**LOGIN, "session_token": None}},
    "a token of an odd form": {"status": "success", "data": {**LOGIN, "session_token": "a b\r\nc"}},
    "a time that is none": {"status": "success", "data": {**LOGIN, "expires_at": "soon"}},
    "a session that has expired": {"status": "success", "data": {**LOGIN, "expires_at": "2001-01-01T00:00:00Z"}},
    "no data": {"status": "success"},
    "data of another shape": {"status": "success", "data": [LOGIN]},
    "no status": {"data": LOGIN},
    "another status": {"status": "done", "data": LOGIN},
}


@pytest.mark.parametrize("callback", MALFORMED.values(), ids=MALFORMED)
async def test_login_with_a_malformed_callback_is_502(tmp_path: Path, callback: Any) -> None:
    noetl = Noetl(callbacks=[(0, callback)])
    async with accounts(tmp_path, noetl) as (gateway, _):
        status, body = await sign_in(gateway)
        assert (status, body["error"]) == (502, "NoETL sent an unexpected answer")
        assert (await ask(gateway, "GET", "/api/auth/me"))[0] in (401, 502)


@pytest.mark.parametrize("envelope", ["context", "result", "data"])
async def test_answer_below_an_envelope_is_found(tmp_path: Path, envelope: str) -> None:
    noetl = Noetl(callbacks=[(0, {"status": "success", "data": {"step": "x", envelope: {"data": LOGIN}}})])
    async with accounts(tmp_path, noetl) as (gateway, _):
        status, body = await sign_in(gateway)
        assert (status, body["user"]) == (200, ME)


async def test_login_without_a_callback_is_503_and_the_execution_is_cancelled(tmp_path: Path) -> None:
    noetl = Noetl(callbacks=[])
    async with accounts(tmp_path, noetl, auth="timeout: 200ms") as (gateway, _):
        status, body = await sign_in(gateway)
        assert (status, body["error"]) == (503, "NoETL did not answer in time")
        await eventually(lambda: bool(noetl.cancelled))
        assert noetl.cancelled[0]["cascade"] is True


async def test_callback_that_comes_late_or_twice_is_not_delivered(tmp_path: Path) -> None:
    again = {"status": "success", "data": {**LOGIN, "session_token": "1" * 32}}
    noetl = Noetl(callbacks=[(0, {"status": "success", "data": LOGIN}), (0.05, again)])
    async with accounts(tmp_path, noetl) as (gateway, _):
        assert (await sign_in(gateway))[1]["session_token"] == SESSION
        await eventually(lambda: len(noetl.delivered) == 2)
        missing = {"delivered": False, "message": "No pending request found for this request_id"}
        assert [body["delivered"] for _, body in noetl.delivered] == [True, False]
        await noetl.post({"request_id": "unknown", "status": "success", "data": LOGIN})
        assert noetl.delivered[2] == (200, missing)


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"request_id": 5}', b'{"status": "success"}', b""])
async def test_callback_that_can_not_be_read_is_400_and_the_login_waits_on(tmp_path: Path, body: bytes) -> None:
    noetl = Noetl(callbacks=[(0, body), (0, {"status": "success", "data": LOGIN})])
    async with accounts(tmp_path, noetl) as (gateway, _):
        assert (await sign_in(gateway))[0] == 200
        await eventually(lambda: len(noetl.delivered) == 2)
        assert [status for status, _ in noetl.delivered] == [400, 200]


async def test_client_that_leaves_cancels_its_login(tmp_path: Path) -> None:
    noetl = Noetl(callbacks=[])
    async with accounts(tmp_path, noetl, auth="timeout: 60s") as (gateway, _):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(sign_in(gateway), 0.3)
        await eventually(lambda: bool(noetl.cancelled))


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (id_token()[:-6] + "AAAAAA", "Invalid token: bad signature"),
        (id_token(exp=1), "Invalid token: expired"),
        (id_token(email_verified=False), "Invalid token: e-mail address not verified"),
        (id_token(aud="another"), "Invalid token: wrong audience"),
    ],
    ids=["signature", "expired", "unverified", "audience"],
)
@WAYS
async def test_token_is_verified_before_noetl_sees_it(
    tmp_path: Path, given: str, reason: str, in_process: bool
) -> None:
    noetl = Noetl(in_process)
    async with accounts(tmp_path, noetl) as (gateway, _):
        status, body = await sign_in(gateway, given)
        assert (status, body["error"], noetl.calls) == (401, reason, [])


async def test_without_verify_signature_noetl_decides_but_an_unverified_address_stays_out(tmp_path: Path) -> None:
    noetl = Noetl()
    async with accounts(tmp_path, noetl, auth="verify_signature: false") as (gateway, _):
        assert (await sign_in(gateway, id_token()[:-6] + "AAAAAA"))[0] == 200
        assert (await sign_in(gateway, id_token(email_verified=False)))[0] == 401
        assert (await sign_in(gateway, "no.token.atall"))[0] == 401
        assert len(noetl.calls) == 1


async def test_assumed_addresses_need_no_claim(tmp_path: Path) -> None:
    noetl = Noetl()
    async with accounts(tmp_path, noetl, tenant="email_verified: assumed") as (gateway, _):
        assert (await sign_in(gateway, id_token(email_verified=False)))[0] == 200


@WAYS
@TRANSPORTS
async def test_unknown_session_is_validated_once_and_then_believed(
    tmp_path: Path, in_process: bool, fast: bool
) -> None:
    noetl = Noetl(in_process)
    async with accounts(tmp_path, noetl, fast=fast) as (gateway, upstream):
        for _ in range(3):
            assert (await ask(gateway, "GET", "/noetl/things"))[0] == 200
        assert (await ask(gateway, "POST", "/api/auth/validate", {"session_token": SESSION}, ""))[1]["valid"] is True
        assert (await ask(gateway, "GET", "/api/auth/me"))[1]["user"] == ME
        (carried,) = noetl.carried("validate")
        assert carried["session_token"] == SESSION
        assert carried["credential" if in_process else "db_credential"] == "pg_auth"
        relayed = next(request for request in upstream.seen if request.path == "/api/things")
        assert relayed.headers["x-user-id"] == "7"
        assert relayed.headers["x-user-roles"] == "admin,staff,user"
        assert SESSION not in str(relayed.headers)


@WAYS
@TRANSPORTS
async def test_invalid_session_is_401_and_is_asked_for_again(tmp_path: Path, in_process: bool, fast: bool) -> None:
    noetl = Noetl(in_process)
    noetl.answers["validate"] = {"valid": False}
    async with accounts(tmp_path, noetl, fast=fast) as (gateway, _):
        for _ in range(2):
            assert (await ask(gateway, "GET", "/noetl/things"))[0] == 401
        assert (await ask(gateway, "POST", "/api/auth/validate", {"session_token": SESSION}, ""))[1]["valid"] is False
        assert len(noetl.carried("validate")) == 3


@pytest.mark.parametrize("data", [{}, {"valid": "true"}, {"valid": 1}, {"valid": True}, {"valid": True, "user": {}}])
@WAYS
async def test_answer_to_a_validation_that_can_not_be_read_lets_nobody_in(
    tmp_path: Path, data: dict[str, Any], in_process: bool
) -> None:
    noetl = Noetl(in_process)
    noetl.answers["validate"] = data
    async with accounts(tmp_path, noetl) as (gateway, upstream):
        assert (await ask(gateway, "GET", "/noetl/things"))[0] == 502
        assert not any(request.path == "/api/things" for request in upstream.seen)


@pytest.mark.parametrize("status", [401, 422, 500, 503])
async def test_server_that_can_not_validate_is_503_and_lets_nobody_in(tmp_path: Path, status: int) -> None:
    noetl = Noetl(in_process=True, status=status)
    async with accounts(tmp_path, noetl) as (gateway, upstream):
        got, body = await ask(gateway, "GET", "/noetl/things")
        assert (got, body["error"]) == (503, "NoETL can't sign users in just now")
        assert (await sign_in(gateway))[0] == 503
        assert not any(request.path in ("/api/things", "/api/execute") for request in upstream.seen)


async def test_credential_that_noetl_does_not_have_is_503(tmp_path: Path) -> None:
    noetl = Noetl(in_process=True)
    noetl.answers["validate"] = {"status": "error", "valid": False, "error": "no credential pg_auth"}
    async with accounts(tmp_path, noetl) as (gateway, _):
        assert (await ask(gateway, "GET", "/noetl/things"))[0] == 503


async def test_playbook_that_is_not_registered_is_502_and_says_so_in_the_log(tmp_path: Path) -> None:
    noetl = Noetl()
    async with accounts(tmp_path, noetl, auth="login: team/other") as (gateway, _):
        status, body = await sign_in(gateway)
        assert (status, body["error"]) == (502, "NoETL has no playbook to sign users in with")


async def test_many_requests_of_one_session_wait_for_one_validation(tmp_path: Path) -> None:
    noetl = Noetl(callbacks=[(0.2, {"status": "success", "data": VALID})])
    async with accounts(tmp_path, noetl) as (gateway, _):
        got = await asyncio.gather(*(ask(gateway, "GET", "/noetl/things") for _ in range(30)))
        assert [status for status, _ in got] == [200] * 30
        assert len(noetl.calls) == 1


async def test_many_unknown_sessions_of_one_address_do_not_start_many_playbooks(tmp_path: Path) -> None:
    noetl = Noetl(callbacks=[(0.3, {"status": "success", "data": {"valid": False}})])
    async with accounts(tmp_path, noetl) as (gateway, _):
        work = (ask(gateway, "GET", "/noetl/things", session=f"{number:032x}") for number in range(40))
        got = sorted(status for status, _ in await asyncio.gather(*work))
        assert got == [401] * 8 + [429] * 32
        assert len(noetl.calls) == 8


async def test_session_is_validated_again_when_the_last_answer_is_too_old(tmp_path: Path) -> None:
    noetl = Noetl(in_process=True)
    async with accounts(tmp_path, noetl, sessions="cache_for: 100ms") as (gateway, _):
        assert (await ask(gateway, "GET", "/noetl/things"))[0] == 200
        noetl.answers["validate"] = {"valid": False}
        await asyncio.sleep(0.15)
        assert (await ask(gateway, "GET", "/noetl/things"))[0] == 401
        assert gateway.server.gateway.store.count() == 0


async def test_roles_that_noetl_has_taken_away_are_gone_after_the_next_validation(tmp_path: Path) -> None:
    noetl = Noetl(in_process=True)
    async with accounts(tmp_path, noetl, sessions="cache_for: 50ms") as (gateway, _):
        assert (await ask(gateway, "GET", "/api/auth/me"))[1]["user"]["roles"] == ["admin", "staff", "user"]
        noetl.answers["validate"] = {**VALID, "user": {**USER, "roles": []}}
        await asyncio.sleep(0.1)
        assert (await ask(gateway, "GET", "/api/auth/me"))[1]["user"]["roles"] == ["staff"]


@WAYS
@TRANSPORTS
@pytest.mark.parametrize("kept", ["memory", "file"])
async def test_session_that_ended_here_does_not_come_back(
    tmp_path: Path, in_process: bool, fast: bool, kept: str
) -> None:
    noetl = Noetl(in_process)
    store = FileStore(tmp_path / "sessions") if kept == "file" else None
    async with accounts(tmp_path, noetl, fast=fast, store=store) as (gateway, _):
        await sign_in(gateway)
        assert (await ask(gateway, "POST", "/api/auth/logout", {}))[0] == 200
        for path in ("/noetl/things", "/api/auth/me"):
            assert (await ask(gateway, "GET", path))[0] == 401
    if store is not None:
        await store.close()


async def test_everywhere_ends_the_other_sessions_of_the_user(tmp_path: Path) -> None:
    noetl, other = Noetl(in_process=True), "d" * 32
    async with accounts(tmp_path, noetl) as (gateway, _):
        for session in (SESSION, other):
            assert (await ask(gateway, "GET", "/api/auth/me", session=session))[0] == 200
        listed = (await ask(gateway, "GET", "/api/auth/sessions"))[1]["sessions"]
        assert len(listed) == 2
        assert (await ask(gateway, "POST", "/api/auth/logout", {"everywhere": True}))[0] == 200
        for session in (SESSION, other):
            assert (await ask(gateway, "GET", "/api/auth/me", session=session))[0] == 401


async def test_lifetime_is_limited_here_also_if_noetl_keeps_the_session(tmp_path: Path) -> None:
    noetl = Noetl(in_process=True)
    async with accounts(tmp_path, noetl, sessions="max_hours: 0.0001") as (gateway, _):
        await sign_in(gateway)
        assert (await ask(gateway, "GET", "/api/auth/me"))[0] == 200
        await asyncio.sleep(0.4)
        assert (await ask(gateway, "GET", "/api/auth/me"))[0] == 401
        assert (await ask(gateway, "GET", "/api/auth/me"))[0] == 401


@pytest.mark.parametrize("form", ["A" * 43, "3f2a-77_x~" * 4, "c0ffee00" * 32])
async def test_other_forms_of_tokens_are_accepted(tmp_path: Path, form: str) -> None:
    noetl = Noetl()
    noetl.answers["login"] = {**LOGIN, "session_token": form}
    async with accounts(tmp_path, noetl) as (gateway, _):
        assert (await sign_in(gateway))[1]["session_token"] == form
        assert (await ask(gateway, "GET", "/api/auth/me", session=form))[0] == 200
        assert len(noetl.calls) == 1


@pytest.mark.parametrize("session", ["short", id_token(), "a b" * 20, "x" * 300])
async def test_what_can_be_no_session_token_is_not_sent_to_noetl(tmp_path: Path, session: str) -> None:
    noetl = Noetl()
    async with accounts(tmp_path, noetl) as (gateway, _):
        assert (await ask(gateway, "GET", "/api/auth/me", session=session))[0] == 401
        assert noetl.calls == []


CHECK = {"playbook_name": "team/flow", "permission_type": "edit"}


@WAYS
@TRANSPORTS
@pytest.mark.parametrize(
    ("data", "allowed"),
    [
        ({"allowed": True, "message": "Access granted to it"}, True),
        ({"allowed": False, "message": "Access denied"}, False),
        ({"allowed": "true"}, False),
        ({"allowed": 1}, False),
        ({}, False),
    ],
)
async def test_check_access_is_what_noetl_decides(
    tmp_path: Path, in_process: bool, fast: bool, data: dict[str, Any], allowed: bool
) -> None:
    noetl = Noetl(in_process)
    noetl.answers["check_access"] = data
    async with accounts(tmp_path, noetl, fast=fast) as (gateway, _):
        status, body = await ask(gateway, "POST", "/api/auth/check-access", {"session_token": SESSION, **CHECK}, "")
        assert (status, body["allowed"], body["permission_type"], body["user_id"]) == (200, allowed, "edit", 7)
        assert body["message"] == data.get("message", body["message"])
        (carried,) = noetl.carried("check_access")
        assert (carried["session_token"], carried["playbook_path"], carried["action"]) == (
            SESSION, "team/flow", "modify",
        )  # fmt: skip


async def test_what_the_gateway_denies_noetl_is_not_asked(tmp_path: Path) -> None:
    noetl = Noetl(in_process=True)
    noetl.answers["validate"] = {**VALID, "user": {**USER, "email": "eve@other.test"}}
    async with accounts(tmp_path, noetl) as (gateway, _):
        _, body = await ask(gateway, "POST", "/api/auth/check-access", CHECK)
        assert (body["allowed"], body["message"]) == (False, "No access to playbook")
        assert noetl.carried("check_access") == []


@WAYS
async def test_ticket_opens_a_stream_with_a_session_of_noetl(tmp_path: Path, in_process: bool) -> None:
    noetl = Noetl(in_process)
    async with accounts(tmp_path, noetl) as (gateway, _):
        ticket = (await ask(gateway, "POST", "/api/auth/ticket"))[1]["ticket"]
        async with gateway.client.get(f"{gateway.url}/events?ticket={ticket}") as response:
            assert response.status == 200
            assert b"clientId" in await response.content.readuntil(b"\n\n")


async def test_stream_ends_when_noetl_has_ended_the_session(tmp_path: Path) -> None:
    noetl = Noetl(in_process=True)
    async with accounts(tmp_path, noetl, sessions="cache_for: 100ms") as (gateway, _):
        async with gateway.client.get(f"{gateway.url}/events?session_token={SESSION}") as response:
            await response.content.readuntil(b"\n\n")
            noetl.answers["validate"] = {"valid": False}
            async with asyncio.timeout(5):
                await response.content.read()


async def test_stream_ends_when_noetl_has_ended_the_session_also_after_a_reload(tmp_path: Path) -> None:
    noetl = Noetl(in_process=True)
    async with accounts(tmp_path, noetl, sessions="cache_for: 100ms") as (gateway, _):
        async with gateway.client.get(f"{gateway.url}/events?session_token={SESSION}") as response:
            await response.content.readuntil(b"\n\n")
            assert await gateway.serving.reload(lambda: gateway.serving.current.gateway.compiled)
            noetl.answers["validate"] = {"valid": False}
            async with asyncio.timeout(5):
                await response.content.read()


async def test_reload_that_is_refused_leaves_validations_for_other_processes_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> Any:
        raise OSError("no certificate")

    noetl = Noetl(in_process=True)
    async with accounts(tmp_path, noetl, sessions="cache_for: 50ms") as (gateway, _):
        assert (await ask(gateway, "GET", "/api/auth/me"))[0] == 200
        monkeypatch.setattr("proxy.server.serving.differences", refuse)
        current = gateway.serving.current.gateway
        used: list[object] = []
        monkeypatch.setattr(type(current.sign_in.sessions), "get", _noting(used))
        assert not await gateway.serving.reload(lambda: current.compiled)
        key = key_of(SESSION)
        assert key is not None
        gateway.serving.process.messages.receive(b"validate-session\n" + key)
        await eventually(lambda: bool(used))
        assert used == [current.sign_in.sessions]


def _noting(used: list[object]) -> Any:
    async def get(self: object, *_: Any) -> None:
        used.append(self)

    return get


@pytest.mark.parametrize("everywhere", [False, True])
async def test_session_can_be_ended_while_noetl_does_not_answer(tmp_path: Path, everywhere: bool) -> None:
    noetl = Noetl(in_process=True)
    async with accounts(tmp_path, noetl, sessions="cache_for: 50ms") as (gateway, _):
        assert (await ask(gateway, "GET", "/api/auth/me"))[0] == 200
        noetl.status = 503
        await asyncio.sleep(0.1)
        assert (await ask(gateway, "GET", "/api/auth/me"))[0] == 503
        assert (await ask(gateway, "POST", "/api/auth/logout", {"everywhere": everywhere}))[0] == 200
        assert (await ask(gateway, "POST", "/api/auth/logout", {}, "1" * 32))[0] == 503
        noetl.status = 200
        assert (await ask(gateway, "GET", "/api/auth/me"))[0] == 401


async def test_answer_with_the_same_member_twice_lets_nobody_in(tmp_path: Path) -> None:
    noetl = Noetl(in_process=True)
    async with accounts(tmp_path, noetl) as (gateway, upstream):

        async def answer(request: web.BaseRequest) -> web.StreamResponse:
            return web.Response(
                body=b'{"status": "ok", "valid": false, "valid": true}', content_type="application/json"
            )

        upstream.answer = answer
        assert (await ask(gateway, "GET", "/api/auth/me"))[0] == 503


async def test_calls_are_counted(tmp_path: Path) -> None:
    noetl = Noetl(callbacks=[(0, {"status": "error", "data": {"error": "bad"}})])
    async with accounts(tmp_path, noetl) as (gateway, _):
        await sign_in(gateway)
        text = (await gateway.client.get(f"{gateway.url}/metrics")).content
        found = (await text.read()).decode()
        assert 'noetl_gateway_auth_calls_total{call="login",outcome="refused",way="playbook"} 1.0' in found
