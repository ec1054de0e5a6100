"""What event streams send, byte for byte."""

from __future__ import annotations

import json
from itertools import islice

import pytest

from proxy import __version__
from proxy.live.follow import FIRST, LAST, delays
from proxy.live.messages import Waiting, failure, hello, no_session, notification, server_sent, state, success


def test_the_first_message() -> None:
    found = json.loads(hello("c", []))
    assert found == {
        "jsonrpc": "2.0",
        "id": 1,
        "result": {
            "protocolVersion": "2024-11-05",
            "serverInfo": {"name": "noetl-gateway", "version": __version__},
            "clientId": "c",
            "capabilities": {"playbooks": True, "callbacks": True, "subscriptions": True, "playbookState": True},
        },
    }
    pending = json.loads(hello("c", [Waiting("r", "7", "p")]))["result"]["pendingRequests"]
    assert pending == [{"requestId": "r", "executionId": "7", "playbookPath": "p"}]


def test_results_have_the_data_as_it_is() -> None:
    assert success("r", "7", b'{"a":1e2,"b":10000000000000000001}') == (
        b'{"jsonrpc":"2.0","method":"playbook/result","params":{"requestId":"r","executionId":"7",'
        b'"status":"COMPLETED","data":{"a":1e2,"b":10000000000000000001}}}'
    )
    assert json.loads(failure("r", "7", 'a "b"\n', b"null"))["params"] == {
        "requestId": "r",
        "executionId": "7",
        "status": "FAILED",
        "error": {"code": -32000, "message": 'a "b"\n', "data": None},
    }


def test_other_messages() -> None:
    assert notification("ping", {}) == b'{"jsonrpc":"2.0","method":"ping","params":{}}'
    assert no_session("no") == b'{"jsonrpc":"2.0","id":null,"error":{"code":-32002,"message":"no"}}'
    assert state("7", "step.exit", "s", "COMPLETED", "t") == {
        "execution_id": "7", "event_type": "step.exit", "step_name": "s", "status": "COMPLETED", "at": "t"
    }  # fmt: skip


@pytest.mark.parametrize("text", ["a\nb", "a\rb", "\u2028", "é"])
def test_an_event_has_one_line_of_data(text: str) -> None:
    sent = server_sent("ping", notification("ping", text), 5)
    kind, number, data, *rest = sent.split(b"\n")
    assert (kind, number, rest) == (b"event: ping", b"id: 5", [b"", b""])
    assert b"\r" not in data
    assert json.loads(data.removeprefix(b"data: "))["params"] == text
    assert server_sent("message", b"{}") == b"event: message\ndata: {}\n\n"


def test_polls_become_rarer() -> None:
    found = list(islice(delays(), 20))
    assert found[0] == FIRST
    assert found == sorted(found)
    assert found[-1] == LAST
    assert sum(each < LAST for each in found) == 8
