"""What a request is routed by, and the shard of an execution."""

from __future__ import annotations

import json

import pytest

from proxy.upstream.routing_keys import execution_key, hash_key, posts_events, shard_of

BATCH = {"events": [{"execution_id": "7", "type": "x"}, {"execution_id": "8"}]}
LARGE = {"padding": "x" * 70_000, "execution_id": "42"}


@pytest.mark.parametrize(
    ("hash_on", "target", "expected"),
    [
        ("execution_id", "/api/executions/42/status", b"42"),
        ("execution_id", "/api/executions/42?page=1", b"42"),
        ("execution_id", "/api/executions", None),
        ("execution_id", "/api/executions/42x", None),
        ("session", "/api/x", b"key"),
        ("header:X-Shard", "/api/x", b"7"),
        ("header:x-none", "/api/x", None),
    ],
)
def test_key_is_what_hash_on_names(hash_on: str, target: str, expected: bytes | None) -> None:
    assert hash_key(hash_on)(target, b"x-shard: 7\r\n", b"key", b"") == expected


@pytest.mark.parametrize(
    ("target", "body", "expected"),
    [
        ("/api/events", {"execution_id": "42"}, b"42"),
        ("/api/events/", {"execution_id": 549325390032929117}, b"549325390032929117"),
        ("/api/events?x=1", {"execution_id": "42"}, b"42"),
        ("/api/events/batch", BATCH, b"7"),
        ("/api/events/batch", [{"execution_id": 9}], b"9"),
        ("/api/event/emit", {"execution_id": "42"}, b"42"),
        ("/api/events", LARGE, b"42"),
        ("/api/events", {"data": {"execution_id": "1"}, "execution_id": "42"}, b"42"),
        ("/api/events", {"execution_id": True}, None),
        ("/api/events", {"execution_id": "x"}, None),
        ("/api/events", {"execution_id": "9" * 21}, None),
        ("/api/events", {"events": []}, None),
        ("/api/events", [], None),
        ("/api/execute", {"execution_id": "42"}, None),
        ("/api/eventsource", {"execution_id": "42"}, None),
    ],
)
def test_execution_of_a_posted_event_stands_in_its_body(target: str, body: object, expected: bytes | None) -> None:
    assert execution_key(target, b"", b"", json.dumps(body).encode()) == expected


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 100_000, None, object(), b"x" * 2_000_000])
def test_body_without_an_execution_has_no_key(body: object) -> None:
    assert execution_key("/api/events", b"", b"", body) is None


def test_other_posts_are_no_events() -> None:
    assert not any(map(posts_events, ("/api/execute", "/api/executions/1", "/api/events/x", "/events")))


@pytest.mark.parametrize(
    ("execution_id", "shards", "shard"),
    [(549325390032929117, 4, 1), (549325390032929117, 1, 0), (0, 4, 3), (1, 16, 5), (2**63 - 1, 1000, 972)],
)
def test_shard_is_that_of_noetl(execution_id: int, shards: int, shard: int) -> None:
    assert shard_of(execution_id, shards) == shard
