"""The end-to-end run hears the secrets that it uses, and finds them in what comes out of the gateway."""

from __future__ import annotations

import base64
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest

from tests.e2e.leaks import Leaks

URL = "http://gateway.test"


@pytest.fixture
def leaks() -> Leaks:
    """A search that has heard of enough other secrets to be one of a run."""
    leaks = Leaks(URL)
    for number in range(20):
        leaks.search.used(f"other-secret-{number:02d}", f"other {number}")
    return leaks


def request(**more: object) -> httpx.Request:
    return httpx.Request("POST", f"{URL}/x", **more)  # type: ignore[arg-type]


REQUESTS = {
    "a password in a form": request(data={"password": "s3cret-s3cret"}),
    "a bearer": request(headers={"authorization": "Bearer s3cret-s3cret"}),
    "a header": request(headers={"x-session-token": "s3cret-s3cret"}),
    "a cookie": request(headers={"cookie": "theme=x; session_token=s3cret-s3cret"}),
    "JSON": request(json={"input": [{"auth0_token": "s3cret-s3cret"}]}),
    "a query": request(params={"code_verifier": "s3cret-s3cret"}),
}
RESPONSES = {
    "JSON": httpx.Response(200, json={"session_token": "s3cret-s3cret"}),
    "a cookie": httpx.Response(200, headers={"set-cookie": "session_token=s3cret-s3cret; HttpOnly"}),
    "a fragment": httpx.Response(302, headers={"location": "http://a.test/#id_token=s3cret-s3cret&x=1"}),
    "a query": httpx.Response(302, headers={"location": "http://a.test/?code=s3cret-s3cret"}),
}


@pytest.mark.parametrize("heard", REQUESTS.values(), ids=REQUESTS)
def test_a_secret_that_was_sent_is_looked_for(leaks: Leaks, heard: httpx.Request) -> None:
    leaks.heard_request(heard)
    leaks.came_out("the log", "so s3cret-s3cret it is")
    with pytest.raises(AssertionError, match=r"1 found: .*, plain: in the log"):
        leaks.check()


@pytest.mark.parametrize("heard", RESPONSES.values(), ids=RESPONSES)
def test_a_secret_that_was_received_is_looked_for(leaks: Leaks, heard: httpx.Response) -> None:
    leaks.heard_response("http://provider.test/x", heard)
    leaks.came_out("the log", "so s3cret-s3cret it is")
    with pytest.raises(AssertionError, match="1 found"):
        leaks.check()


@pytest.mark.parametrize(
    "planted",
    [
        "s3cret/s3cret",
        quote("s3cret/s3cret", safe=""),
        base64.b64encode(b"user:s3cret/s3cret").decode(),
        b"s3cret/s3cret".hex(),
    ],
)
def test_a_secret_that_was_planted_in_a_file_is_found(leaks: Leaks, tmp_path: Path, planted: str) -> None:
    leaks.heard_request(request(data={"password": "s3cret/s3cret"}))
    (tmp_path / "sessions").mkdir()
    (tmp_path / "sessions" / "data.mdb").write_bytes(b"\x00" * 99 + planted.encode())
    leaks.files(tmp_path / "sessions")
    with pytest.raises(AssertionError, match=r"1 found: password, .* in data\.mdb"):
        leaks.check()


@pytest.mark.parametrize("status", [200, 401])
def test_an_answer_is_searched_if_it_tells_of_an_error(leaks: Leaks, status: int) -> None:
    leaks.heard_request(request(json={"session_token": "s3cret-s3cret"}))
    leaks.heard_response(f"{URL}/api/auth/me", httpx.Response(status, json={"hello": "s3cret-s3cret"}))
    assert [name.partition(",")[0] for name in leaks.search.found()] == ([] if status == 200 else ["session_token"])


def test_a_graphql_error_is_searched_though_its_status_is_200(leaks: Leaks) -> None:
    leaks.heard_request(request(json={"session_token": "s3cret-s3cret"}))
    leaks.heard_response(f"{URL}/graphql", httpx.Response(200, json={"errors": [{"message": "s3cret-s3cret"}]}))
    assert len(leaks.search.found()) == 1


def test_what_httpx_sends_is_heard(leaks: Leaks, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = httpx.Response(403, json={"error": "no, s3cret-s3cret"})
    monkeypatch.setattr(httpx.HTTPTransport, "handle_request", lambda *_: answer)
    with leaks.listening(), httpx.Client(transport=httpx.HTTPTransport()) as client:
        client.post(f"{URL}/x", json={"password": "s3cret-s3cret"})
    assert leaks.search.found() == ["password, plain: in the answer 403"]


def test_a_run_that_used_hardly_a_secret_does_not_pass() -> None:
    with pytest.raises(AssertionError, match="too few"):
        Leaks(URL).check()
