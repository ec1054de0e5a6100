# ruff: noqa: E501 - data in lines
"""Lists with what a user may view."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable
from typing import Any

import pytest

from proxy.errors import BadGateway
from proxy.noetl.authorize import Authorizer
from proxy.noetl.filtering import fields_of_part, filtered, known_part, request_lines
from proxy.noetl.surface import Listing
from proxy.policy.acl import Action
from proxy.sessions.memory import MemoryStore
from proxy.upstream.heads import RawHeaders, ResponseHead
from tests.unit.identity.people import policy, principal, rule

POLICY = policy(rule("allow", Action.VIEW, playbooks="open/**", roles=("dev",)), rule("deny", playbooks="open/secret"))
WHO = principal(POLICY)
CATALOG, EXECUTIONS = Listing.CATALOG, Listing.EXECUTIONS
ENTRIES = '{"path": "open/a",  "n": 1.0, "x": "\\ud800"}'


async def reduced(listing: Listing, data: bytes, status: int = 200, headers: RawHeaders | None = None) -> bytes:
    """Return the list that the user gets, who started execution 3."""
    store = MemoryStore()
    store.store_execution_owner("3", WHO.user_id, 1.0)
    authorizer = Authorizer(POLICY, store, None, {})
    head = ResponseHead(status, b"OK", headers or [], len(data), chunked=False)
    return await filtered(authorizer, WHO, listing, head, data)


@pytest.mark.parametrize(
    ("listing", "data", "expected"),
    [
        (CATALOG, '{"entries":[]}', '{"entries":[]}'),
        (CATALOG, f' {{"count": 2, "entries": [ {ENTRIES} , {{"path": "b"}}]}} ', f'{{"entries":[{ENTRIES}]}}'),
        (CATALOG, '{"entries":[{"path":"open/secret"},{"path":"other"}], "z": [{"path": "z"}]}', '{"entries":[]}'),
        (EXECUTIONS, "[]", "[]"),
        (
            EXECUTIONS,
            '[{"execution_id":1,"path":"open/a"},{"execution_id":"2","path":"b"},{"execution_id":3,"path":"b"}]',
            '[{"execution_id":1,"path":"open/a"},{"execution_id":3,"path":"b"}]',
        ),
        (EXECUTIONS, '[{"execution_id":2},{"execution_id":"3","path":null}]', '[{"execution_id":"3","path":null}]'),
    ],
)
async def test_list_has_the_entries_that_the_user_may_view_as_they_are(
    listing: Listing, data: str, expected: str
) -> None:
    assert await reduced(listing, data.encode()) == expected.encode()


@pytest.mark.parametrize(
    ("listing", "data"),
    [
        (CATALOG, ""), (CATALOG, "[]"), (CATALOG, "{}"), (CATALOG, "null"), (CATALOG, "<html>"), (CATALOG, '{"entries":{}}'),
        (CATALOG, '{"entries":[1]}'), (CATALOG, '{"entries":[{}]}'), (CATALOG, '{"entries":[{"path":5}]}'), (CATALOG, '{"entries":[]'),
        (CATALOG, '{"entries":[],"entries":[]}'), (CATALOG, '{"entries":[]}x'), (CATALOG, '{"entries":[{"path":"open/a"},]}'),
        (EXECUTIONS, '{"executions":[]}'), (EXECUTIONS, "[1]"), (EXECUTIONS, '[{"path":"open/a"}]'), (EXECUTIONS, '[[{"execution_id":1}]]'),
        (EXECUTIONS, "[] []"), (EXECUTIONS, "[" * 100_000),
    ],
)  # fmt: skip
async def test_list_that_is_not_as_expected_is_an_error_of_the_upstream(listing: Listing, data: str) -> None:
    with pytest.raises(BadGateway):
        await reduced(listing, data.encode())


@pytest.mark.parametrize(
    ("status", "headers"), [(206, []), (204, []), (200, [(b"content-encoding", b"gzip")]), (200, [(b"content-encoding", b"br")])]
)  # fmt: skip
async def test_part_of_a_list_and_a_compressed_list_are_errors_of_the_upstream(
    status: int, headers: RawHeaders
) -> None:
    with pytest.raises(BadGateway):
        await reduced(CATALOG, b'{"entries":[]}', status, headers)


async def test_large_list_is_filtered_without_stopping_the_event_loop() -> None:
    entry = {"execution_id": "1", "path": "x", "content": "y" * 1000}
    entries: list[dict[str, Any]] = [
        {**entry, "execution_id": str(n), "path": f"open/{n}" if n % 2 else "b"} for n in range(20_000)
    ]
    data = json.dumps(entries).encode()
    stalls = []
    for _ in range(3):  # other processes stop this one, too, but hardly each time
        kept, stall = await _watched(reduced(EXECUTIONS, data))
        assert json.loads(kept) == [each for each in entries if each["path"] != "b" or each["execution_id"] == "3"]
        stalls.append(stall)
        if stall < 0.5:
            return
    pytest.fail(f"stalls of {stalls} s")


async def _watched(work: Awaitable[bytes]) -> tuple[bytes, float]:
    """Return what something returns, and the longest time for which it has stopped the event loop, in seconds."""
    longest, last = 0.0, time.monotonic()

    async def watch() -> None:
        nonlocal longest, last
        while True:
            await asyncio.sleep(0.001)
            now = time.monotonic()
            longest, last = max(longest, now - last), now

    watching = asyncio.create_task(watch())
    await asyncio.sleep(0.01)
    found = await work
    watching.cancel()
    return found, longest


def test_request_for_a_filtered_list_asks_for_all_of_it_as_it_is() -> None:
    lines = b"Accept-Encoding: gzip\r\nIf-None-Match: *\r\naccept: */*\r\nRange: bytes=0-1\r\nx-if: 1\r\n"
    assert request_lines(lines) == b"accept: */*\r\nx-if: 1\r\naccept-encoding: identity\r\n"


def test_response_with_a_filtered_list_has_no_field_of_the_whole_list() -> None:
    fields = [(b"etag", b'"1"'), (b"content-length", b"5"), (b"x", b"1"), (b"cache-control", b"public")]
    assert fields_of_part(fields) == [(b"x", b"1")]


@pytest.mark.parametrize(
    ("listing", "data", "kept"),
    [
        (CATALOG, b'{"entries":[{"path":"open/a"},{"path":"b"}]}', b'{"entries":[{"path":"open/a"}]}'),
        (EXECUTIONS, b'[{"execution_id":1,"path":"open/a"}]', b'[{"execution_id":1,"path":"open/a"}]'),
        (EXECUTIONS, b'[{"execution_id":3,"path":"b"}]', None),
    ],
    ids=["catalog", "executions of playbooks that may be viewed", "execution of the user"],
)
async def test_list_is_known_if_it_depends_on_the_rules_alone(
    listing: Listing, data: bytes, kept: bytes | None
) -> None:
    authorizer = Authorizer(POLICY, MemoryStore(), None, {})
    head, other = (ResponseHead(200, b"OK", fields, None, False) for fields in ([], [(b"content-encoding", b"gzip")]))
    assert known_part(authorizer, WHO, listing, head, data) is None
    await filtered(authorizer, WHO, listing, head, data)
    assert known_part(authorizer, WHO, listing, head, data) == kept
    nobody = principal(policy(rule("allow", Action.VIEW, playbooks="none")))
    assert known_part(authorizer, nobody, listing, head, data) is None
    with pytest.raises(BadGateway):
        known_part(authorizer, WHO, listing, other, data)
