"""Messages and reservations of graphql-sse."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from proxy.errors import BadRequest
from proxy.graphql.transport_sse import (
    complete_event,
    is_reservation,
    new_reservation,
    next_event,
    operation_id,
)

KEY, OTHER = b"k" * 32, b"o" * 32


def test_events() -> None:
    assert next_event(b'{"data":1}') == b'event: next\ndata: {"data":1}\n\n'
    assert complete_event() == b"event: complete\ndata: \n\n"
    assert next_event(b"{}", "a\n") == b'event: next\ndata: {"id":"a\\n","payload":{}}\n\n'
    assert complete_event("a") == b'event: complete\ndata: {"id":"a"}\n\n'


def test_a_reservation_is_one_of_its_session_only() -> None:
    token = new_reservation(KEY)
    assert is_reservation(KEY, token)
    assert not is_reservation(OTHER, token)
    assert new_reservation(KEY) != token


@pytest.mark.parametrize("change", [lambda token: token[:-1], lambda token: token + "0", lambda token: token[::-1]])
def test_a_reservation_that_was_changed_is_none(change: Callable[[str], str]) -> None:
    assert not is_reservation(KEY, change(new_reservation(KEY)))


@pytest.mark.parametrize("token", ["", "x", "0" * 64, "é" * 64])
def test_what_is_no_reservation(token: str) -> None:
    assert not is_reservation(KEY, token)


@pytest.mark.parametrize(
    "document",
    [None, [], {}, {"extensions": None}, {"extensions": {}}, {"extensions": {"operationId": 5}},
     {"extensions": {"operationId": ""}}, {"extensions": {"operationId": "x" * 129}},
     {"extensions": {"operationId": "\ud800"}}],
)  # fmt: skip
def test_an_operation_needs_an_id(document: Any) -> None:
    with pytest.raises(BadRequest, match="operationId is required"):
        operation_id(document)


def test_the_id_of_an_operation() -> None:
    assert operation_id({"extensions": {"operationId": "x" * 128}}) == "x" * 128
