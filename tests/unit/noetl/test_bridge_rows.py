"""The pure functions of the bridge: which requests it names, and what goes up and comes back."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from proxy.noetl.bridge.catalog import entries
from proxy.noetl.bridge.details import detail_query
from proxy.noetl.bridge.listed import executions, executions_query
from proxy.noetl.bridge.messages import ClientRequest, Facts, JsonAnswer, Page, Wanted
from proxy.noetl.bridge.payloads import Payloads
from proxy.noetl.bridge.queries import least_id
from proxy.noetl.bridge.table import row_of
from proxy.noetl.bridge.text import with_error_texts
from proxy.noetl.bridge.times import for_people, seconds_between
from proxy.noetl.dialect import Dialect

RUST, PYTHON = Dialect.RUST, Dialect.PYTHON
NO_FACTS = Facts(lambda content: None)


@pytest.mark.parametrize(
    ("method", "path", "name", "execution_id", "on_rust", "on_python"),
    [
        ("GET", "executions/7/status", "status", "7", "executions/7/status", "executions/7/status"),
        ("HEAD", "executions/7", "detail", "7", "executions/7", "executions/7"),
        ("GET", "executions/7/events", "events", "7", "executions/7", "executions/7/events"),
        ("POST", "executions/7/stop", "stop", "7", "executions/7/cancel", "executions/7/cancel"),
        ("POST", "catalog/agents/list", "catalog", "", "catalog/list", "catalog/agents/list"),
        ("PUT", "catalog/playbook/content", "content", "", "catalog/playbook/content", "catalog/playbook/content"),
    ],
)
def test_row_of_a_request_and_its_path_on_each_server(
    method: str, path: str, name: str, execution_id: str, on_rust: str, on_python: str
) -> None:
    found = row_of(method, f"/api/{path}")
    assert found is not None
    assert (found.row.name, found.execution_id) == (name, execution_id)
    assert found.path(f"/api/{path}", RUST) == f"/api/{on_rust}"
    assert found.path(f"/api/{path}", PYTHON) == f"/api/{on_python}"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/executions/7/status"), ("GET", "/api/executions/x/status"), ("GET", "/api/executions/7/status/"),
        ("GET", "/executions/7/status"), ("GET", "/api/executions/123456789012345678901"),
        ("DELETE", "/api/executions"),
        ("POST", "/api/catalog/register"), ("POST", "/api/execute/batch"), ("HEAD", "/api/catalog/playbook/content"),
    ],
)  # fmt: skip
def test_other_request_has_no_row(method: str, path: str) -> None:
    assert row_of(method, path) is None


@pytest.mark.parametrize(
    ("dialect", "query", "sent", "wanted"),
    [
        (RUST, "", "", Wanted()),
        (RUST, "?limit=3&offset=1", "?limit=3&offset=1", Wanted()),
        (RUST, "?page=2&page_size=20", "?limit=20&offset=20", Wanted()),
        (RUST, "?page=3&page_size=200", "?limit=100&offset=200", Wanted()),
        (RUST, "?page=3&page_size=20&limit=5", "?limit=5", Wanted()),
        (RUST, "?page=x&page_size=0", "?limit=1&offset=0", Wanted()),
        (RUST, "?status=failed", "?status=FAILED", Wanted()),
        (RUST, "?path=a%2Fb", "?path=a%2Fb&limit=100&offset=0", Wanted(path="a/b", page=Page())),
        (RUST, "?path=a/b&limit=1", "?path=a%2Fb&limit=100&offset=0", Wanted(path="a/b", page=Page(0, 1))),
        (PYTHON, "?page=2&page_size=20", "?page=2&page_size=20", Wanted()),
        (PYTHON, "?limit=5&offset=2", "?page=1&page_size=200", Wanted(page=Page(2, 5))),
        (PYTHON, "?status=FAILED", "?page=1&page_size=200", Wanted(status="failed", page=Page())),
        (None, "?status=failed&limit=x", "?status=failed&limit=x", Wanted()),
    ],
)
def test_query_of_a_list_is_the_one_that_the_server_understands(
    dialect: Dialect | None, query: str, sent: str, wanted: Wanted
) -> None:
    assert executions_query(dialect, query) == (sent, wanted)


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("", Wanted(page=Page(0, 100))),
        ("?page=3&page_size=10", Wanted(page=Page(20, 10), number=3)),
        ("?page_size=9999&include_events=false", Wanted(page=Page(0, 500), with_events=False)),
        ("?since_event_id=12", Wanted(page=Page(0, 100), since=12)),
        ("?since_event_id=412345678901234560", Wanted(page=Page(0, 100), since=412345678901234528)),
        ("?page=-1&page_size=x&since_event_id=1e9", Wanted(page=Page(0, 100))),
    ],
)
def test_query_of_a_detail_is_read_leniently(query: str, wanted: Wanted) -> None:
    assert detail_query(RUST, query) == (query, wanted)
    assert detail_query(None, query) == (query, Wanted())


@pytest.mark.parametrize(
    ("dialect", "sent", "since"),
    [
        (PYTHON, "412345678901234567", "412345678901234567"),
        (PYTHON, "412345678901234560", "412345678901234528"),
        (PYTHON, "7", "7"),
        (None, "412345678901234560", "412345678901234560"),
        (RUST, "412345678901234560", "412345678901234560"),
    ],
)
def test_event_id_that_javascript_has_rounded_is_lowered_for_the_python_server(
    dialect: Dialect | None, sent: str, since: str
) -> None:
    query = detail_query(dialect, f"?page=1&since_event_id={sent}").query
    assert query == f"?page=1&since_event_id={since}"


@pytest.mark.parametrize("first", [2**53 - 3, 2**58 + 5, 768934374606635068, 2**60 - 70, 2**62 + 1])
def test_least_id_is_not_over_any_id_that_is_rounded_to_the_number(first: int) -> None:
    for number in range(first, first + 700):
        assert least_id(int(float(number))) <= number
        assert least_id(number) in (number, number - int(math.ulp(float(number))) // 2)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, None),
        (0.0, "0s"),
        (0.4, "0s"),
        (59.6, "1m"),
        (61, "1m 1s"),
        (3600, "1h"),
        (90_061, "1d 1h 1m 1s"),
        (-3, "0s"),
    ],
)
def test_duration_for_people(seconds: float | None, text: str | None) -> None:
    assert for_people(seconds) == text


@pytest.mark.parametrize(
    ("start", "end", "seconds"),
    [
        ("2026-11-02T08:00:00Z", "2026-11-02T08:01:05.750000Z", 65.75),
        ("2026-11-02T08:00:00", "2026-11-02T09:00:00+00:00", 3600.0),
        ("2026-11-02T08:00:01Z", "2026-11-02T08:00:00Z", 0.0),
        ("yesterday", "2026-11-02T08:00:00Z", None),
        (None, 5, None),
    ],
)
def test_seconds_between_two_times_of_a_server(start: Any, end: Any, seconds: float | None) -> None:
    assert seconds_between(start, end) == seconds


@pytest.mark.parametrize(
    ("error", "added"),
    [
        ({"error": "no \"such\" ü", "status": 404}, {"detail": "no \"such\" ü", "message": "no \"such\" ü"}),
        ({"detail": "gone"}, {"error": "gone"}),
        ({"detail": [{"loc": ["body", "path"], "msg": "missing"}]}, {"error": "body.path: missing"}),
        ({"detail": "a", "error": "b"}, {}),
        ({"hello": 1}, {}),
    ],
)  # fmt: skip
def test_error_has_the_names_of_both_servers(error: Any, added: dict[str, str]) -> None:
    assert json.loads(with_error_texts(json.dumps(error))) == {**error, **added}


def test_list_of_executions_ends_a_running_one_not() -> None:
    run = {
        "execution_id": 1,
        "status": "RUNNING",
        "started_at": "2026-11-02T08:00:00Z",
        "completed_at": "2026-11-02T08:00:09Z",
    }
    found = json.loads(executions(ClientRequest("list"), JsonAnswer(200, json.dumps([run])), NO_FACTS).text)
    assert found == [
        {**run, "start_time": run["started_at"], "end_time": None, "duration_seconds": None, "duration_human": None,
         "progress": 0}
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["[5]", "{}", "[{}", "5", ""])
def test_list_of_another_shape_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        executions(ClientRequest("list"), JsonAnswer(200, text), NO_FACTS)


@pytest.mark.parametrize(
    ("content", "payload"),
    [
        ("a: 1.50\nwhen: 2026-11-02", '{"a":1.5,"when":"2026-11-02"}'),
        ("a: .nan\nb: -.inf", '{"a":null,"b":null}'), ("- 1", None), ("{{{", None), ("[" * 300_000, None),
        ("a: &a [*a]", None),
        ("a: &a " + "x" * 90_000 + "\nb: [" + "*a, " * 100 + "]", None),
    ],
)  # fmt: skip
def test_payload_is_the_playbook_of_the_content(content: str, payload: str | None) -> None:
    payloads = Payloads()
    for _ in range(2):
        assert payloads.text_of(content) == payload


def test_entries_keep_every_byte_of_what_is_not_changed() -> None:
    text = (
        '{"entries": [ {"path":"a", "version" : 1.50,"payload":{},"content":"k: 1","meta":null,"x":1E5}, {"path":"b"}]}'
    )
    answer = JsonAnswer(200, text)
    asked = ClientRequest("catalog", wanted=Wanted(path="a"))
    found = entries(asked, answer, Facts(Payloads().text_of)).text
    assert (
        found == '{"entries":[{"path":"a", "version" : 1.50,"payload":{"k":1},"content":"k: 1","meta":null,"x":1E5}]}'
    )
    assert entries(ClientRequest("catalog"), answer, NO_FACTS) is answer


def test_entries_of_the_python_server_are_left_alone() -> None:
    text = '{"entries": [{"path":"a","payload":{"k":true},"content":"k: yes","meta":{"x":1E5}}]}'
    answer = JsonAnswer(200, text)
    assert entries(ClientRequest("catalog"), answer, Facts(Payloads().text_of)) is answer
