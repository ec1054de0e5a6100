"""Errors of the pytest plugin: the reason of the server, without credentials."""

from __future__ import annotations

import httpx
import pytest

from mock_pytest import MockAuth0, MockError, MockNoetl
from mock_pytest.responses import MAX_SHOWN, data_of

TOKEN = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.c2lnbmF0dXJl"


def test_refused_sign_in_has_the_reason_of_the_server(auth0_here: MockAuth0) -> None:
    with pytest.raises(MockError, match=r"^POST /oauth/token: 403 .*Wrong email or password") as caught:
        auth0_here.sign_in("user@example.com", "a wrong password")
    assert caught.value.status == 403
    assert "a wrong" not in str(caught.value)


def test_refused_sign_in_that_repeats_the_credentials_has_masks(auth0_here: MockAuth0) -> None:
    text = f"hunter2hunter2 is not the password of x, the otp is 12345678, {TOKEN}"
    auth0_here.rule("/oauth/token", response={"status": 401, "text": text}, times=1)
    with pytest.raises(MockError) as caught:
        auth0_here.sign_in("x", "hunter2hunter2", otp="12345678")
    expected = "<masked> is not the password of x, the otp is <masked>, <masked>"
    assert str(caught.value) == f"POST /oauth/token: 401 {expected}"


def test_refused_playbook_has_the_reason_of_the_server(noetl_here: MockNoetl) -> None:
    with pytest.raises(MockError, match=r"^POST /api/catalog/register: \d+ .*parsing a flow node"):
        noetl_here.register("kind: [")
    with pytest.raises(MockError, match=r"^POST /api/execute: 404 "):
        noetl_here.execute("no/such/playbook")
    with pytest.raises(MockError, match=r"^GET /api/executions/1/status: 404 "):
        noetl_here.status("1")


def test_refused_operation_of_the_control_plane_has_its_reason(noetl_here: MockNoetl) -> None:
    with pytest.raises(MockError, match=r"^POST /rules: 400 .*unknown key"):
        noetl_here.rule("/x", response={"stat": 1})
    with pytest.raises(MockError, match=r"^POST /journal/verify: 400 "):
        noetl_here.verify(match={"pth": "x"})


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        ('{"access_token": "abc", "error": "x"}', '{"access_token":"<masked>","error":"x"}'),
        ('{"detail": "line 1: password: hunter2\\nkind"}', '{"detail": "line 1: password: <masked>\\nkind"}'),
        ("client_secret=abc&x=1", "client_secret=<masked>"),
        ("authorization: Bearer 0123456789abcdef0123", "authorization: Bearer <masked>"),
        ("invalid token: expired", "invalid token: expired"),
        ("x" * 2000, "x" * MAX_SHOWN + "…"),
    ],
)
def test_text_of_an_error_has_no_credentials(body: str, shown: str) -> None:
    response = httpx.Response(400, text=body, request=httpx.Request("GET", "http://x/y"))
    with pytest.raises(MockError) as caught:
        data_of(response)
    assert caught.value.text == shown


def test_successful_response_that_is_not_json_is_an_error() -> None:
    response = httpx.Response(200, text="<html>", request=httpx.Request("GET", "http://x/y"))
    with pytest.raises(MockError, match=r"GET /y: 200 \(not JSON\) <html>"):
        data_of(response)
