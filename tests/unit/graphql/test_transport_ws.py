"""The machine of graphql-transport-ws: messages in, commands out."""

from __future__ import annotations

import json
from typing import Any

import pytest

from proxy.graphql.http import GraphqlRequest
from proxy.graphql.transport_ws import (
    Carried,
    Close,
    CloseCode,
    Initialise,
    Machine,
    Phase,
    Reply,
    Start,
    Stop,
    carried,
    complete_message,
    error_message,
    next_message,
)

INIT = {"type": "connection_init"}
SUBSCRIBE = {"type": "subscribe", "id": "1", "payload": {"query": "{ version }"}}
REQUEST = GraphqlRequest("{ version }", None, None)
ID = "subscribe needs an id of 1 to 128 characters"
QUERY = "query is required: the text of a GraphQL document"
OBJECT = "The body must be a JSON object with a query"
ACK = "ack"
"""Stands for `acknowledge` in a dialogue."""


def bad(reason: str) -> Close:
    """Return the command for an invalid message."""
    return Close(CloseCode.BAD_REQUEST, reason)


def told(machine: Machine, messages: list[Any]) -> list[Any]:
    """Return the command for each message."""
    return [machine.acknowledge() if each == ACK else machine.receive(json.dumps(each)) for each in messages]


@pytest.mark.parametrize(
    ("messages", "last"),
    [
        ([INIT], Initialise({})),
        ([{**INIT, "payload": None}], Initialise({})),
        ([{**INIT, "payload": {"a": 1}}], Initialise({"a": 1})),
        ([{**INIT, "payload": []}], bad("The payload of connection_init must be an object")),
        ([INIT, INIT], Close(CloseCode.TOO_MANY_INITIALISATIONS, "Too many initialisation requests")),
        ([INIT, ACK, INIT], Close(CloseCode.TOO_MANY_INITIALISATIONS, "Too many initialisation requests")),
        ([SUBSCRIBE], Close(CloseCode.UNAUTHORIZED, "Unauthorized")),
        ([INIT, SUBSCRIBE], Close(CloseCode.UNAUTHORIZED, "Unauthorized")),
        ([INIT, ACK, SUBSCRIBE], Start("1", REQUEST)),
        ([INIT, ACK, SUBSCRIBE, {**SUBSCRIBE, "id": "2"}], Start("2", REQUEST)),
        ([INIT, ACK, SUBSCRIBE, SUBSCRIBE], Close(CloseCode.SUBSCRIBER_EXISTS, "Subscriber for 1 already exists")),
        ([INIT, ACK, {**SUBSCRIBE, "id": 1}], bad(ID)),
        ([INIT, ACK, {**SUBSCRIBE, "id": ""}], bad(ID)),
        ([INIT, ACK, {**SUBSCRIBE, "id": "\ud800"}], bad(ID)),
        ([{"type": "ping", "payload": {"a": "\ud800"}}], Reply(b'{"type":"pong"}')),
        ([INIT, ACK, {**SUBSCRIBE, "payload": {}}], bad(QUERY)),
        ([INIT, ACK, {**SUBSCRIBE, "payload": None}], bad(OBJECT)),
        ([INIT, ACK, {**SUBSCRIBE, "payload": []}], bad("Batches are not accepted: send one request")),
        ([INIT, ACK, SUBSCRIBE, {"type": "complete", "id": "1"}], Stop("1")),
        ([INIT, ACK, SUBSCRIBE, {"type": "complete", "id": "1"}, SUBSCRIBE], Start("1", REQUEST)),
        ([INIT, ACK, {"type": "complete", "id": "9"}], None),
        ([INIT, ACK, {"type": "complete"}], bad("complete needs an id")),
        ([{"type": "ping"}], Reply(b'{"type":"pong"}')),
        ([{"type": "ping", "payload": {"a": 1}}], Reply(b'{"type":"pong","payload":{"a":1}}')),
        ([{"type": "ping", "payload": 5}], Reply(b'{"type":"pong"}')),
        ([{"type": "pong"}], None),
        ([{"type": "start"}], bad("Unknown type of message")),
        ([{}], bad("Unknown type of message")),
        ([5], bad("The message is not a JSON object")),
        ([{}, INIT], None),
    ],
)  # fmt: skip
def test_a_dialogue(messages: list[Any], last: Any) -> None:
    assert told(Machine(), messages)[-1] == last


def test_text_that_is_not_json_closes() -> None:
    assert Machine().receive("{") == bad("The message is not JSON")


def test_the_id_of_an_operation_that_has_ended_is_free() -> None:
    machine = Machine()
    told(machine, [INIT, ACK, SUBSCRIBE])
    machine.ended("1")
    assert told(machine, [SUBSCRIBE]) == [Start("1", REQUEST)]
    assert machine.phase is Phase.READY


def test_a_reason_fits_a_close_frame() -> None:
    machine = Machine()
    same = {**SUBSCRIBE, "id": "é" * 128}
    *_, close = told(machine, [INIT, ACK, same, same])
    assert close.code == 4409
    assert len(close.reason.encode()) <= 123


def test_messages_are_json() -> None:
    assert json.loads(next_message('"', b'{"data":1}')) == {"id": '"', "type": "next", "payload": {"data": 1}}
    assert json.loads(error_message("1", b"[]")) == {"id": "1", "type": "error", "payload": []}
    assert json.loads(complete_message("1")) == {"id": "1", "type": "complete"}


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        ({}, None),
        ({"other": "x", "token": "x"}, None),
        ({"authorization": "Bearer abc"}, Carried("abc", None)),
        ({"Authorization": "bearer abc "}, Carried("abc", None)),
        ({"authorization": "Basic abc"}, Carried("", None)),
        ({"session_token": "abc"}, Carried("abc", None)),
        ({"sessionToken": "abc"}, Carried("abc", None)),
        ({"X-Session-Token": "abc"}, Carried("abc", None)),
        ({"session_token": 5}, None),
        ({"ticket": "t", "session_token": "abc"}, Carried(None, "t")),
    ],
)
def test_what_authenticates(payload: dict[str, Any], expected: Carried | None) -> None:
    assert carried(payload) == expected
