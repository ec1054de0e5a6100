"""The lists of the client library, which request page after page, with respx in the gateway's place."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
import respx

from proxy.client import (
    ApiError,
    AsyncClient,
    Client,
    ExecutionEvent,
    ExecutionSummary,
    Forbidden,
    IncompleteList,
    Unauthorized,
)

URL = "https://gateway.example"
TOKEN = "d23c3024d55b4d0faea4886eb13c2347"
ID = "549325390032929117"
START = "2026-11-26T10:38:39.412579Z"
Read = Callable[[Any], Any]


def executions(*numbers: int, **extensions: Any) -> dict[str, Any]:
    """A page of executions."""
    about = {"path": "my_playbook", "status": "running", "startTime": START, "endTime": None}
    listed = [{"executionId": str(n), "cursor": f"c{n}", **about} for n in numbers]
    return {"data": {"executions": listed}, **({"extensions": extensions} if extensions else {})}


def events(*numbers: int, **extensions: Any) -> dict[str, Any]:
    """A page of events."""
    about = {"type": "call.done", "step": "a", "status": "completed", "at": START, "result": {"n": 1}}
    listed = [{"id": str(n), **about} for n in numbers]
    return {"data": {"execution": {"events": listed}}, **({"extensions": extensions} if extensions else {})}


@pytest.fixture
def gateway() -> Iterator[respx.MockRouter]:
    with respx.mock(base_url=URL) as router:
        yield router


def answers(gateway: respx.MockRouter, *pages: dict[str, Any]) -> respx.Route:
    """Let the gateway send these responses, one after the other."""
    return gateway.post("/graphql").mock(side_effect=[httpx.Response(200, json=page) for page in pages])


def sent(route: respx.Route) -> list[dict[str, Any]]:
    """The variables of the requests."""
    return [json.loads(call.request.content)["variables"] for call in route.calls]


async def with_blocking(read: Callable[[Client], Iterable[Any]]) -> list[Any]:
    with Client(URL, session_token=TOKEN) as client:
        return list(read(client))


async def with_async(read: Callable[[AsyncClient], AsyncIterator[Any]]) -> list[Any]:
    async with AsyncClient(URL, session_token=TOKEN) as client:
        return [item async for item in read(client)]


BOTH = pytest.mark.parametrize("collect", [with_blocking, with_async], ids=["blocking", "async"])


@BOTH
async def test_executions_are_those_of_all_pages(gateway: respx.MockRouter, collect: Read) -> None:
    route = answers(gateway, executions(5, 4), executions(3, 2), executions(1))
    found = await collect(lambda client: client.executions("my_playbook", status="running", page_size=2))
    assert [item.execution_id for item in found] == ["5", "4", "3", "2", "1"]
    assert found[0] == ExecutionSummary("5", "running", "my_playbook", datetime(2026, 11, 26, 10, 38, 39, 412579, UTC))
    wanted = {"path": "my_playbook", "status": "running", "first": 2}
    assert sent(route) == [{**wanted, "after": after} for after in (None, "c4", "c2")]


@BOTH
async def test_search_that_has_stopped_goes_on_after_its_cursor(gateway: respx.MockRouter, collect: Read) -> None:
    pages = executions(9, truncated=True, cursor="x"), executions(truncated=True, cursor="y"), executions(3)
    route = answers(gateway, *pages)
    found = await collect(lambda client: client.executions())
    assert [item.execution_id for item in found] == ["9", "3"]
    assert [variables["after"] for variables in sent(route)] == [None, "x", "y"]


@BOTH
@pytest.mark.parametrize(
    ("list_of", "pages"),
    [
        (lambda client: client.executions(page_size=1), [executions(2), executions(truncated=True)]),
        (lambda client: client.events(ID, page_size=1), [events(2, truncated=True), events()]),
    ],
    ids=["executions", "events"],
)
async def test_list_that_the_server_does_not_send_whole_is_an_error_at_its_end(
    gateway: respx.MockRouter, collect: Read, list_of: Read, pages: list[dict[str, Any]]
) -> None:
    route = answers(gateway, *pages)
    with pytest.raises(IncompleteList, match="more entries than the NoETL server lists"):
        await collect(list_of)
    assert len(route.calls) == 2


@BOTH
async def test_events_are_those_of_all_pages_after_an_event(gateway: respx.MockRouter, collect: Read) -> None:
    route = answers(gateway, events(7, 8), events(9, 10), events())
    found = await collect(lambda client: client.events(ID, after="6", page_size=2))
    at = datetime(2026, 11, 26, 10, 38, 39, 412579, UTC)
    assert found[0] == ExecutionEvent("7", "call.done", "a", "completed", at, {"n": 1})
    assert [event.id for event in found] == ["7", "8", "9", "10"]
    assert sent(route) == [{"id": ID, "first": 2, "after": after} for after in ("6", "8", "10")]


@BOTH
async def test_error_of_a_page_is_raised(gateway: respx.MockRouter, collect: Read) -> None:
    error = {"message": "No access to playbook", "extensions": {"code": "FORBIDDEN", "status": 403}}
    answers(gateway, events(7), {"data": None, "errors": [error]})
    with pytest.raises(Forbidden, match="No access to playbook"):
        await collect(lambda client: client.events(ID, page_size=1))


@pytest.mark.parametrize("page", [{"data": {"execution": None}}, {"data": {"execution": {"events": [{"id": "1"}]}}}])
def test_page_of_another_shape_is_an_error(gateway: respx.MockRouter, page: dict[str, Any]) -> None:
    answers(gateway, page)
    with Client(URL, session_token=TOKEN) as client, pytest.raises(ApiError, match="not a valid response"):
        next(client.events(ID))


def test_pages_are_requested_when_they_are_needed(gateway: respx.MockRouter) -> None:
    route = answers(gateway, executions(3, 2))
    with Client(URL, session_token=TOKEN) as client:
        listed = client.executions(page_size=2)
        assert not route.calls
        assert [next(listed).execution_id, next(listed).execution_id] == ["3", "2"]
        assert len(route.calls) == 1


@pytest.mark.parametrize("page_size", [0, -1, 1001])
def test_page_size_is_from_1_to_1000(page_size: int) -> None:
    with Client(URL, session_token=TOKEN) as client:
        with pytest.raises(ValueError, match="page_size must be from 1 to 1000"):
            client.executions(page_size=page_size)
        with pytest.raises(ValueError, match="page_size must be from 1 to 1000"):
            client.events(ID, page_size=page_size)


def test_lists_need_a_session() -> None:
    with Client(URL) as client, pytest.raises(Unauthorized):
        next(client.executions())
